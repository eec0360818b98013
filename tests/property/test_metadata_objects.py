"""An object as metadata: the same text or the same refusal over HTTP, from Kafka and in an import."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.collect.records.requests import context
from topics.codec import RejectedRecord, decode_source
from topics.metadata import MAX_METADATA_CHARS, MAX_METADATA_DEPTH, MAX_METADATA_KEYS
from topics.records import Event, are_valid_events, decode_record
from tracker.collect.errors import RequestError
from tracker.collect.records.source_records import event_record
from tracker.imports.mapping import ColumnMapping
from tracker.imports.rows import RowMapper

REFUSED = "refused"
AT = "2026-11-28T10:00:00Z"
RECORD = b'{"type":"event","session_id":"s","timestamp":"%s","data":{"event_type":"click","metadata":%s}}'


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for level in range(depth - 1):
        found = {"in": found if level % 2 else [found]}
    return found


DEEPEST = {"a": {"a": {"a": {"a": {"a": {"a": {"a": {}}}}}}}}
LARGEST = {"a": "x" * (MAX_METADATA_CHARS - len('{"a":""}'))}
MOST = {str(number): None for number in range(MAX_METADATA_KEYS)}

leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
#: Not empty: in a file, an empty object says nothing.
objects = st.dictionaries(st.text(), values, min_size=1)


def over_http(text: bytes) -> str:
    try:
        fields = orjson.loads(b'{"event_type":"click","session_id":"s","metadata":' + text + b"}")
        return orjson.loads(event_record(fields, context()).value)["data"]["metadata"]
    except (RequestError, orjson.JSONDecodeError):
        return REFUSED


def from_kafka(text: bytes) -> str:
    value = RECORD % (AT.encode(), text)
    try:
        read = decode_record(b"s", value)
        judged: Any = decode_source(b"s", value)
    except RejectedRecord:
        return REFUSED
    assert isinstance(read, Event)
    assert judged["data"]["metadata"] == read.data.metadata
    return str(read.data.metadata)


def in_an_import(text: bytes) -> str:
    try:
        row = orjson.loads(
            b'{"event_type":"click","session_id":"s","timestamp":"%s","metadata":%s}' % (AT.encode(), text)
        )
        mapped = RowMapper(ColumnMapping()).map(row)
        assert mapped is not None
        return orjson.loads(mapped.value)["data"]["metadata"]
    except (RejectedRecord, orjson.JSONDecodeError):
        return REFUSED


def everywhere(text: bytes) -> str:
    results = {way(text) for way in (over_http, from_kafka, in_an_import)}
    assert len(results) == 1, (text, results)
    return results.pop()


@given(objects)
@example({"b": 1, "a": {"ü": [1.0, 2**64, -(2**63)], "": None}})
@example({"a": 1180591620717411303424})
@example(DEEPEST)
@example(LARGEST)
@example(MOST)
def test_an_object_becomes_the_same_text_by_all_ways_whatever_the_order_of_its_keys(
    given_object: dict[str, Any],
) -> None:
    text = json.dumps(given_object, ensure_ascii=False, allow_nan=True).encode()
    turned = json.dumps(dict(reversed(given_object.items())), indent=1).encode()
    stored = everywhere(text)
    assert everywhere(turned) == stored
    if stored != REFUSED:
        assert json.loads(stored) == orjson.loads(text)
        assert stored == orjson.dumps(orjson.loads(text), None, orjson.OPT_SORT_KEYS).decode()


@pytest.mark.parametrize("kept", [DEEPEST, LARGEST, MOST])
def test_what_is_at_a_limit_is_kept(kept: dict[str, Any]) -> None:
    assert json.loads(everywhere(json.dumps(kept).encode())) == kept


@pytest.mark.parametrize(
    "refused",
    [
        {"a": DEEPEST},
        {"a": [DEEPEST]},
        {**LARGEST, "b": 1},
        {**MOST, "one more": None},
        {"a": float("nan")},
        {"a": 10**400},
        nested(MAX_METADATA_DEPTH * 2),
    ],
)
def test_what_is_beyond_a_limit_is_refused(refused: dict[str, Any]) -> None:
    assert everywhere(json.dumps(refused).encode()) == REFUSED


def test_the_reason_says_which_limit_it_is() -> None:
    with pytest.raises(RequestError) as caught:
        event_record({"event_type": "click", "metadata": {"a": DEEPEST}}, context())
    assert caught.value.reasons == (f"metadata: nested deeper than {MAX_METADATA_DEPTH} levels",)
    value = orjson.dumps(
        {
            "type": "event",
            "session_id": "s",
            "timestamp": AT,
            "data": {"event_type": "click", "metadata": {"a": DEEPEST}},
        }
    )
    with pytest.raises(RejectedRecord, match=r"event\.data\.metadata: nested deeper than 8 levels"):
        decode_record(b"s", value)


def test_other_values_than_texts_and_objects_are_refused() -> None:
    for other in (b"5", b"[1]", b"true"):
        assert over_http(other) == from_kafka(other) == REFUSED


def test_events_with_objects_are_valid_events_for_the_fast_check() -> None:
    assert are_valid_events([RECORD % (AT.encode(), each) for each in (b'{"a":1}', b'"text"')])
    assert not are_valid_events([RECORD % (AT.encode(), json.dumps({"a": DEEPEST}).encode())])
