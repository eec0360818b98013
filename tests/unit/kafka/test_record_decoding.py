"""Every record of every batch comes out, as aiokafka decodes it or, where that gives up, with the reason."""

import hashlib
import random
import tracemalloc
import zlib
from typing import Any

import cramjam
import lz4.frame
import pytest
from aiokafka import codec as aiokafka_codec
from aiokafka.record.default_records import DefaultRecordBatch

from tests.raw_batches import PACK, Raw, raw_batch
from topics.headers import CUT, UNDECODABLE
from tracker.kafka import record_decoding
from tracker.kafka.record_decoding import KEPT_HEADERS, KEPT_PART_BYTES, AnyRecords, decode_one_by_one
from tracker.kafka.unpacking import BrokenPackingError, unpack

BASE_OFFSET = 40


def batch(records: list[Raw], **options: Any) -> bytes:
    return raw_batch(records, base_offset=BASE_OFFSET, **options)


def decoded(raw: bytes) -> list[tuple]:
    records = AnyRecords(raw)
    found = []
    while records.has_next():
        each = records.next_batch()
        assert each.validate_crc()
        found += [(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, list(r.headers)) for r in each]
    return found


SOME = [
    (b"a", b"1" * 500, []),
    (None, None, [("name", None), ("ä", b"x")]),
    (b"", b"", []),
    (b"k" * 3_000, b"\x00\xff" * 9_000, [("n", b"v")] * 5),
]


@pytest.mark.parametrize("codec", PACK)
def test_all_codecs_give_the_records_that_were_packed(codec):
    expected = [(BASE_OFFSET + n, 1_000 + n, 0, key, value, headers) for n, (key, value, headers) in enumerate(SOME)]
    assert decoded(batch(SOME, codec=codec)) == expected
    one_by_one = [(r.offset, r.timestamp, 0, *r[3:6]) for r in decode_one_by_one(memoryview(batch(SOME, codec=codec)))]
    assert one_by_one == expected


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("count", [1, 999, 1_000, 1_001, 2_000])
def test_records_that_aiokafka_can_decode_are_decoded_once(codec, count, monkeypatch):
    monkeypatch.setattr(record_decoding, "decode_one_by_one", None)
    assert len(decoded(batch([(b"k", b"v", [])] * count, codec=codec))) == count


def test_batches_that_follow_each_other_are_all_decoded():
    raw = b"".join(batch(SOME, codec=codec) for codec in PACK)
    assert len(decoded(raw + batch(SOME)[:-1])) == len(SOME) * len(PACK)


@pytest.mark.parametrize("codec", PACK)
@pytest.mark.parametrize("place", [0, 1, 2_500])
def test_a_header_name_that_is_not_utf8_marks_its_record_and_no_other(codec, place):
    records = [(b"k%d" % n, b"v%d" % n, [("h", b"")]) for n in range(3_000)]
    records[place] = (b"k", b"v", [("fine", b"1"), ("bad", b"2")])
    found = decoded(batch(records, codec=codec, spoil=lambda plain: plain.replace(b"bad", b"b\xffd")))
    assert [record[0] for record in found] == list(range(BASE_OFFSET, BASE_OFFSET + len(records)))
    marked = [record for record in found if any(name == UNDECODABLE for name, _ in record[5])]
    assert [record[0] for record in marked] == [BASE_OFFSET + place]
    reason = b"the header name 'b\\\\xffd' is not UTF-8"
    assert marked[0][3:] == (b"k", b"v", [("fine", b"1"), ("b\\xffd", b"2"), (UNDECODABLE, reason)])


@pytest.mark.parametrize("codec", PACK)
def test_a_batch_that_becomes_too_large_is_cut_and_its_good_records_come(codec, monkeypatch):
    monkeypatch.setattr(record_decoding, "UNPACKED_MAX_BYTES", 1_000_000)
    huge = bytes(3_000_000)
    records = [(b"good", b"1", []), (b"bad", huge, []), (b"bad", b"2", [("h", huge)]), (b"good", b"3", [])]
    found = (
        decoded(batch(records, codec=codec))
        if codec
        else [(r.offset, r.timestamp, 0, *r[3:6]) for r in decode_one_by_one(memoryview(batch(records)))]
    )
    assert [record[3] for record in found] == [b"good", b"bad", b"bad", b"good"]
    assert found[1][4] == bytes(KEPT_PART_BYTES)
    assert found[2][5][0] == ("h", bytes(KEPT_PART_BYTES))
    digest = hashlib.sha256(huge).hexdigest()
    for record, part in ((found[1], "value"), (found[2], "header value")):
        (undecodable, reason), cut = record[5][-2:]
        assert undecodable == UNDECODABLE
        assert reason.decode() == f"the {part} has 3000000 bytes, of which the first {KEPT_PART_BYTES} are kept"
        assert cut == (CUT, f"{part}:3000000:{digest}".encode())
    assert found[0][5] == found[3][5] == []


def test_a_bomb_takes_no_more_memory_than_a_piece():
    raw = batch([(b"k", bytes(200_000_000), [])], codec=4)
    assert len(raw) < 50_000
    tracemalloc.start()
    try:
        (record,) = decoded(raw)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(record[4]) == KEPT_PART_BYTES
    assert peak < 3 * record_decoding.UNPACKED_MAX_BYTES


def test_of_a_batch_without_end_the_rest_is_one_record(monkeypatch):
    monkeypatch.setattr(record_decoding, "UNPACKED_MAX_BYTES", 1_000)
    monkeypatch.setattr(record_decoding, "DECODED_MAX_BYTES", 100_000)
    found = decoded(batch([(b"k", bytes(1_000), [])] * 5_000, codec=4))
    assert 80 < len(found) < 100
    assert [record[0] for record in found] == list(range(BASE_OFFSET, BASE_OFFSET + len(found)))
    (name, reason) = found[-1][5][0]
    assert name == UNDECODABLE
    assert reason.decode().startswith(f"offsets {found[-1][0]} to {BASE_OFFSET + 4_999} can't be decoded: more than")


@pytest.mark.parametrize("codec", PACK)
def test_what_follows_a_record_that_is_too_large_to_get_past_is_marked_and_not_lost(codec, monkeypatch):
    monkeypatch.setattr(record_decoding, "DECODED_MAX_BYTES", 100_000)
    good, bomb = (b"k", b"v", []), (b"k", bytes(3_000_000), [])
    raw = memoryview(batch([good, bomb, good], codec=codec))
    found = list(decode_one_by_one(raw))
    assert [record[0] for record in found] == [BASE_OFFSET, BASE_OFFSET + 1, BASE_OFFSET + 2]
    assert found[0][5] == []
    for record in found[1:]:
        assert record[5][0][1].startswith(b"offset %d can't be decoded: more than" % record[0])


def test_of_very_many_headers_the_first_ones_are_kept():
    records = [(b"k", b"v", [(f"n{n}", b"") for n in range(20_000)] + [("bad", b"")]), (b"next", b"v", [])]
    first, second = decoded(batch(records, spoil=lambda plain: plain.replace(b"bad", b"b\xffd")))
    assert len(first[5]) == KEPT_HEADERS + 2
    assert first[5][-2][1].startswith(b"20001 headers, of which the first 100 are kept; ")
    assert first[5][-1][1].startswith(b"other headers:")
    assert second[3:] == (b"next", b"v", [])


@pytest.mark.parametrize("codec", PACK)
def test_of_a_batch_whose_records_are_broken_each_that_is_left_is_marked(codec):
    def spoil(plain: bytes) -> bytes:
        at = plain.index(b"second") - 1
        return plain[:at] + b"\xff" * 11 + plain[at + 11 :]

    records = [(b"first", b"v", []), (b"second", b"v" * 20, []), (b"third", b"v", [])]
    first, *left = decoded(batch(records, codec=codec, spoil=spoil))
    assert first[3:] == (b"first", b"v", [])
    assert [(record[0], record[3], record[4]) for record in left] == [(41, None, None), (42, None, None)]
    for record in left:
        assert record[5][0][1].startswith(b"offset %d can't be decoded: " % record[0])


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 7])
def test_bytes_that_are_not_packed_by_their_codec_are_refused(codec):
    with pytest.raises(BrokenPackingError):
        list(unpack(codec, memoryview(random.Random(codec).randbytes(100))))


@pytest.mark.parametrize("cut", [10, 1_000])
def test_what_is_cut_off_is_refused(cut):
    plain = random.Random(1).randbytes(5_000)
    packed = {1: aiokafka_codec.gzip_encode(plain), 3: lz4.frame.compress(plain), 2: cramjam.snappy.compress_raw(plain)}
    for codec, whole in packed.items():
        with pytest.raises(BrokenPackingError):
            list(unpack(codec, memoryview(bytes(whole)[:-cut])))


def test_gzip_of_several_members_is_unpacked_whole():
    members = zlib.compress(b"a", wbits=31) + zlib.compress(b"b", wbits=31)
    assert b"".join(unpack(1, memoryview(members))) == b"ab"


def test_the_decoder_is_aiokafkas_where_it_can_be():
    each = AnyRecords(batch(SOME, codec=4)).next_batch()
    assert isinstance(each._unpacked(), DefaultRecordBatch)
