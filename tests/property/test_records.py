"""Decoding by structs against pydantic, which judges: the same records are taken, and the same is read of them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics import records
from topics.codec import MAX_SOURCE_VALUE_BYTES, RejectedRecord, decode_source
from topics.event import EVENT_TYPES, EventInput
from topics.fields import MAX_ID_CHARS, MAX_TEXT_CHARS, MAX_URL_CHARS
from topics.metadata import MAX_METADATA_CHARS
from topics.records import Told, are_valid_events, decode_record
from topics.structs import ANY_TIME
from topics.visitor import Visitor

EVENT = {
    "type": "event",
    "session_id": "s-1",
    "timestamp": "2026-11-25T10:00:00.123Z",
    "client_timestamp": "2026-11-25T09:00:00+02:00",
    "retry_count": 1,
    "visitor": {"is_bot": False, "country": "DE", "device_type": "mobile"},
    "data": {
        "event_type": "click",
        "scroll_percentage": 12,
        "viewport_width": 1280,
        "page_url": "https://shop.example/ä",
    },
}
RECORDS = [
    EVENT,
    {**EVENT, "passive": True, "workspace_id": "w", "data": {"event_type": "scroll", "event_id": "e", "form_id": None}},
    {"type": "session", "session_id": "s-1", "timestamp": "2026-11-25T10:00:00Z", "data": {"timeout_seconds": 60}},
    {"type": "session", "session_id": "s-1", "timestamp": "2026-11-25T10:00:00.5Z", "open_only": True, "data": {}},
    {"type": "expire", "session_id": "s-1", "timestamp": "2026-11-25T10:00:00Z", "data": {"workspace_id": "w"}},
    {"type": "flush", "session_id": "s-1", "timestamp": "2026-11-25T12:00:00+02:00"},
    {"type": "tick"},
]
LENGTHS = [
    length + more for length in (0, MAX_ID_CHARS, MAX_TEXT_CHARS, MAX_URL_CHARS, MAX_METADATA_CHARS) for more in (0, 1)
]
TIMES = [
    "1999-12-31T23:59:59.999Z", "1999-12-31T23:59:59.9999999Z", "2000-01-01T00:00:00Z", "2000-01-01T00:30:00+01:00",
    "2099-12-31T23:59:59.999Z", "2099-12-31T23:30:00-01:00", "2100-01-01T00:00:00Z", "2026-11-25", "2026-11-25T10:00",
    "2026-11-25T10:00:00", "2026-11-25 10:00:00Z", "2026-11-25t10:00:00z", "2026-11-25T24:00:00Z",
    "2026-11-25T10:00:60Z", "2026-02-29T10:00:00Z", "2026-11-25T10:00:00.123456789Z", "2026-11-25T10:00:00,5Z",
    "2026-11-25T10:00:00.Z", "2026-11-25T10:00:00+24:00", "2026-11-25T10:00:00+23:59", "2026-11-25T10:00:00-00:00",
    "2026-11-25T10:00:00+0200", "2026-11-25T10:00:00+02", "2026-W48-3T10:00:00Z", "20261125T100000Z",
    "+2026-11-25T10:00:00Z", "0000-01-01T00:00:00Z", "1764064800", "", "2026-11-25T10:00:00Z\n",
    " 2026-11-25T10:00:00Z", "2026-11-25T10:00:00 Z", "٢٠٢٦-11-25T10:00:00Z",
]  # fmt: skip
IDS = ["a b", "a\n", "\n", "a\x7f", "a\x00b", "a\u00a0b", "a\u2028", "ä", "😀", "\ud83d"]
COUNTRIES = ["", "DE", "de", "DEU", "DE\n", "Ä1"]

numbers = st.one_of(
    st.sampled_from(
        [0, 0.0, -0.0, -1, 1.0, 1280.0, 99.5, 100, 100.0, 100.1, 86_400_000, 86_400_000.5, 100_000, 100_001]
    ),
    st.sampled_from([1_000_000_000, 1_000_000_001, 2**31, 2**63, 2**64 - 1, -(2**63), 1e16, 1e308, 5e-324]),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
clock_times = st.builds(
    "{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format,
    st.sampled_from([0, 1970, 1999, 2000, 2026, 2099, 2100, 9999]),
    st.integers(0, 13), st.integers(0, 32), st.sampled_from("Tt _"),
    st.integers(0, 25), st.integers(0, 60), st.integers(0, 61),
    st.sampled_from(["", ".0", ".123", ".123456", ".1234567", ".", ",1"]),
    st.sampled_from(["Z", "z", "", "+00:00", "-23:59", "+24:00", "+1:00", "+01", "+01:60", "+01:00:00"]),
)  # fmt: skip
texts = st.one_of(
    st.sampled_from([*TIMES, *IDS, *COUNTRIES, *EVENT_TYPES, "event", "session", "mobile"]),
    st.builds(lambda char, length: char * length, st.sampled_from("aä😀 "), st.sampled_from(LENGTHS)),
    clock_times,
    st.text(max_size=20),
)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
names = {
    None: [*EVENT, "id", "visitors"],
    "data": [*EventInput.__annotations__, "id", "session_event_sequence"],
    "visitor": [*Visitor.__annotations__, "cookies"],
}


@st.composite
def changed_events(draw: st.DrawFn) -> dict:
    """An event with some of its fields changed, added or left out."""
    event = {**EVENT, "data": {**EVENT["data"]}, "visitor": {**EVENT["visitor"]}}
    for _ in range(draw(st.integers(0, 2))):
        part = draw(st.sampled_from([None, "data", "data", "visitor"]))
        fields = event if part is None else event.get(part)
        if not isinstance(fields, dict):
            continue
        name = draw(st.sampled_from(names[part]))
        if draw(st.booleans()) and draw(st.booleans()):
            fields.pop(name, None)
        else:
            fields[name] = draw(anything)
    return event


def told(key: bytes | None, value: bytes) -> Any:
    """What is read of a record, or why it can't be taken. The client's own time is looked at, not kept."""
    try:
        read = decode_record(key, value)
    except RejectedRecord as rejected:
        return rejected.reason, rejected.detail
    if isinstance(read, Told):
        read.client_timestamp = ANY_TIME
    return read


def judged(key: bytes | None, value: bytes) -> Any:
    """The same where pydantic alone decodes."""
    with patch.object(records, "_decode", side_effect=msgspec.DecodeError) as decode:
        found = told(key, value)
    assert decode.called or key is None or len(value) > MAX_SOURCE_VALUE_BYTES
    return found


def is_taken(event: dict) -> bool:
    """Ask the decoder, under the key that the event names."""
    session_id = event.get("session_id")
    key = session_id.encode() if isinstance(session_id, str) else b""
    try:
        decode_source(key, orjson.dumps(event))
    except RejectedRecord:
        return False
    return True


def is_json(event: dict) -> bool:
    try:
        orjson.dumps(event)
    except orjson.JSONEncodeError:  # a surrogate; such an event never gets as far as the decoder
        return False
    return True


@given(changed_events().filter(is_json))
def test_what_is_read_of_an_event_is_what_pydantic_reads(event: dict) -> None:
    session_id = event.get("session_id")
    key = session_id.encode() if isinstance(session_id, str) else b"s-1"
    assert told(key, orjson.dumps(event)) == judged(key, orjson.dumps(event))


@given(st.data())
def test_what_is_read_of_any_bytes_is_what_pydantic_reads(data: st.DataObject) -> None:
    """One byte is another, is missing, or comes twice."""
    value = orjson.dumps(data.draw(st.sampled_from(RECORDS)))
    at, byte = data.draw(st.integers(0, len(value) - 1)), bytes([data.draw(st.integers(0, 255))])
    changed = value[:at] + data.draw(st.sampled_from([byte, b"", byte + value[at : at + 1]])) + value[at + 1 :]
    key = data.draw(st.sampled_from([b"s-1", b"s-1", b"s-2", b"", None]))
    assert told(key, changed) == judged(key, changed)


@pytest.mark.parametrize("record", RECORDS)
def test_all_that_pydantic_reads_is_there(record: dict) -> None:
    read = msgspec.to_builtins(decode_record(None if record["type"] == "tick" else b"s-1", orjson.dumps(record)))
    for part, name, value in leaves(decode_source(None if record["type"] == "tick" else b"s-1", orjson.dumps(record))):
        if name == "client_timestamp":  # it is looked at, not kept
            continue
        found = read if part is None else read[part]
        assert found.get(name, False) == (text_of(value) if isinstance(value, datetime) else value), (part, name)


def text_of(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def leaves(record: Mapping[str, Any]) -> list[tuple[str | None, str, Any]]:
    flat = [(None, name, value) for name, value in record.items() if not isinstance(value, dict)]
    return flat + [(part, name, value) for part in ("data", "visitor") for name, value in record.get(part, {}).items()]


@given(changed_events().filter(is_json))
def test_what_passes_the_screen_is_taken_by_the_decoder(event: dict) -> None:
    if are_valid_events([orjson.dumps(event)]):
        assert is_taken(event), orjson.dumps(event)


@pytest.mark.parametrize("part", [None, "data", "visitor"])
def test_each_field_is_as_narrow_as_the_decoder_has_it(part: str | None) -> None:
    values = [None, True, [], {}, 0, -1, 0.5, 1280.0, 10**9 + 1, 2**64 - 1, 1e308, *TIMES, *IDS[:-1], *COUNTRIES]
    values += [char * length for char in "a😀" for length in LENGTHS]
    for name in names[part]:
        for value in values:
            changed = {name: value} if part is None else {part: {**EVENT[part], name: value}}
            event = {**EVENT, **changed}
            assert not are_valid_events([orjson.dumps(event)]) or is_taken(event), (part, name, value)


def test_a_value_of_the_largest_size_is_the_largest_that_passes() -> None:
    data = {"event_type": "click", "metadata": "x" * MAX_METADATA_CHARS, "page_url": "ä" * MAX_URL_CHARS}
    event = {**EVENT, "data": data}
    assert are_valid_events([orjson.dumps(event)])
    wide = "😀" * MAX_METADATA_CHARS
    too_large = orjson.dumps({**EVENT, "data": {**data, "metadata": wide}})
    assert len(too_large) > MAX_SOURCE_VALUE_BYTES
    assert not are_valid_events([too_large])


def test_one_that_does_not_pass_holds_up_all() -> None:
    right, wrong = orjson.dumps(EVENT), orjson.dumps({**EVENT, "type": "tick"})
    assert are_valid_events([right, right])
    assert not are_valid_events([right, wrong])
    assert not are_valid_events([right, b"{"])


def test_every_field_that_an_event_may_have_passes() -> None:
    """Otherwise it would only be slow: the decoder would be asked."""
    texts = {name: "" for name in EventInput.__annotations__ if name != "event_type"}
    decimals = ("page_load_time", "dom_ready_time", "scroll_percentage", "time_on_page")
    full = {**texts, **dict.fromkeys(decimals, 1.5), "event_type": "scroll", "viewport_width": 1, "viewport_height": 1}
    assert are_valid_events([orjson.dumps({**EVENT, "data": full})])
    assert are_valid_events([orjson.dumps({**EVENT, "data": {**full, **dict.fromkeys(decimals, 3)}})])
