"""The one format of dead letters: everything about the record that failed, and nothing that could fail itself."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sessions_log import START_MS, Record
from topics.catalog import MAX_LETTER_BATCH_BYTES
from topics.dead_letter import MAX_READ_VALUE_BYTES, CutPart, DeadLetter, LetterId, dead_letter, letter_key
from topics.headers import CUT, FIRST_FAILED_AT_MS, PRODUCER_CLIENT_ID, RETRY_COUNT, UNDECODABLE


def letter_of(key: bytes | None, value: bytes | None, **headers: bytes | None) -> DeadLetter:
    named = tuple((name.replace("_", "-"), header) for name, header in headers.items())
    record = Record(7, START_MS, key, value, named)  # type: ignore[arg-type] # Kafka's headers may be null
    return dead_letter(
        record,
        stage="process",
        topic="tracker.events",
        partition=3,
        reason="invalid",
        detail="why",
        failed_at_ms=START_MS + 5,
    )


@given(
    st.none() | st.binary(max_size=60),
    st.none() | st.binary(max_size=200),
    st.lists(st.tuples(st.sampled_from((RETRY_COUNT, FIRST_FAILED_AT_MS, PRODUCER_CLIENT_ID)), st.binary(max_size=30))),
)
def test_whatever_the_record_holds_its_raw_bytes_come_back_out_of_the_letter(key, value, headers):
    record = Record(7, START_MS, key, value, tuple(headers))
    letter = dead_letter(
        record, stage="sink", topic="t", partition=3, reason="refused", detail="why", failed_at_ms=START_MS
    )
    again = DeadLetter.model_validate_json(letter.encode())
    assert again == letter
    assert (again.key, again.value, again.headers) == (key, value, headers)
    assert again.id == LetterId("sink", "t", 3, 7)


def test_a_first_failure_is_first_and_last_at_once():
    letter = letter_of(b"k", b"x")
    assert (letter.first_failed_at_ms, letter.last_failed_at_ms) == (START_MS + 5, START_MS + 5)
    assert (letter.retry_count, letter.attempts) == (0, 1)


def test_a_record_that_was_sent_again_keeps_its_first_failure_and_its_count():
    letter = letter_of(b"k", b"x", retry_count=b"2", first_failed_at_ms=b"%d" % START_MS)
    assert (letter.first_failed_at_ms, letter.last_failed_at_ms) == (START_MS, START_MS + 5)
    assert (letter.retry_count, letter.attempts) == (2, 3)


@pytest.mark.parametrize("raw", [b"", b"-1", b"two", b"9" * 400, b"\xff", None])
def test_a_header_that_makes_no_sense_counts_as_none(raw):
    letter = letter_of(b"k", b"x", retry_count=raw, first_failed_at_ms=raw)
    assert (letter.retry_count, letter.first_failed_at_ms) == (0, START_MS + 5)


def test_without_the_header_the_envelope_says_how_often_it_was_sent_again():
    assert letter_of(b"k", b'{"type":"event","retry_count":4}').retry_count == 4
    assert letter_of(b"k", b'{"type":"event","retry_count":true}').retry_count == 0
    assert letter_of(b"k", b'{"type":"event","retry_count":-4}').retry_count == 0


@pytest.mark.parametrize(
    ("value", "workspace_id"),
    [
        (b'{"type":"event","data":{"workspace_id":"w1"}}', "w1"),  # a source record
        (b'{"workspace_id":"w1","session_id":"s"}', "w1"),  # a row
        (b'{"data":{"workspace_id":7}}', None),
        (b'{"data":{"workspace_id":""}}', None),
        (b'{"data":{"workspace_id":"%s"}}' % (b"w" * 129), None),
        (b'["workspace_id"]', None),
        (b"\xff", None),
        (b'{"data":{"workspace_id":"w1"}}' + b" " * MAX_READ_VALUE_BYTES, None),
    ],
)
def test_the_workspace_is_read_from_the_raw_record_where_that_is_possible(value, workspace_id):
    assert letter_of(b"k", value).workspace_id == workspace_id


def test_a_producer_that_names_itself_is_named():
    assert letter_of(b"k", b"x", producer_client_id=b"shop-\xff" + b"x" * 500).producer_client_id == (
        "shop-\N{REPLACEMENT CHARACTER}" + "x" * 122
    )


LARGEST = MAX_LETTER_BATCH_BYTES - 1_024  # what a batch needs beside its one record


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k" * 900_000, b"", ()),
        (b"", b"v" * 40_000_000, ()),
        (b"k" * 500_000, b"v" * 500_000, (("h", b"v" * 300_000),)),
        (b"k", b"v", (("\x00" * 900_000, b""),)),
        (b"k", b"v", tuple((f"\x01{n}", None) for n in range(100_000))),
        (b"k" * 65_536, b"v" * 1_230_000, ()),
    ],
)
def test_a_letter_and_its_key_always_fit_into_their_topic(key, value, headers):
    record = Record(7, START_MS, key, value, headers)
    letter = dead_letter(
        record, stage="process", topic="t" * 249, partition=3, reason="oversized", detail="d" * 1_000,
        failed_at_ms=START_MS,
    )  # fmt: skip
    encoded = letter.encode()
    assert len(encoded) + len(letter_key(key) or b"") < LARGEST
    again = DeadLetter.model_validate_json(encoded)
    assert again == letter
    whole = {"key": key, "value": value}
    for part in again.cut:
        if part.part in whole:
            raw = whole[part.part]
            assert (part.size_bytes, part.sha256) == (len(raw), sha256(raw).hexdigest())
            assert getattr(again, part.part) == raw[: len(getattr(again, part.part))]
    is_whole = (again.key, again.value, tuple(again.headers)) == (key, value, headers)
    assert is_whole == (not again.cut)


def test_what_a_reader_has_cut_is_named_in_the_letter():
    digest = sha256(b"all of it").hexdigest()
    headers = (("h", b"1"), (UNDECODABLE, b"too much"), (CUT, f"value:9:{digest}".encode()), (CUT, b"nonsense"))
    record = Record(7, START_MS, b"k", b"all", headers)
    letter = dead_letter(
        record, stage="process", topic="t", partition=3, reason="undecodable", detail="", failed_at_ms=START_MS
    )
    assert letter.cut == (CutPart(part="value", size_bytes=9, sha256=digest),)


def test_a_whole_letter_is_written_as_releases_wrote_it_that_cut_none():
    assert b"cut" not in letter_of(b"k", b"x").encode()
