"""Rows of files into records: columns, constants, values, times, numbers, objects."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.codec import RejectedRecord, decode_source
from topics.metadata import MAX_METADATA_DEPTH
from tracker.errors import ConfigurationError
from tracker.imports.mapping import ColumnMapping
from tracker.imports.rows import RowMapper

ROW = {"session_id": "s-1", "timestamp": "2025-03-01T10:00:00.5Z", "event_type": "click", "page_url": "https://x/"}
AT_MS = 1_740_823_200_000

#: What any file may hold in a cell.
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes() | st.dates() | st.decimals()
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def mapped(row: Mapping[str, Any], **mapping: Any) -> tuple[int, dict]:
    record = RowMapper(ColumnMapping(**mapping)).map(row)
    assert record is not None
    decode_source(record.key, record.value)
    return record.timestamp_ms, json.loads(record.value)


def data(row: Mapping[str, Any], **mapping: Any) -> dict:
    return mapped(row, **mapping)[1]["data"]


def test_columns_that_are_named_as_fields_need_no_mapping() -> None:
    time_ms, record = mapped({**ROW, "utm_source": "news", "passive": True})
    assert time_ms == AT_MS + 500
    assert record == {
        "type": "event",
        "session_id": "s-1",
        "timestamp": "2025-03-01T10:00:00.500Z",
        "passive": True,
        "visitor": {"utm_source": "news"},
        "data": {"event_type": "click", "page_url": "https://x/"},
    }


def test_columns_constants_and_values_are_mapped() -> None:
    row = {"sid": "s", "at": "1740823200", "kind": "view", "w": "1280", "load": "12.5"}
    columns = {"session_id": "sid", "timestamp": "at", "event_type": "kind", "viewport_width": "w"}
    assert data(
        row,
        columns={**columns, "page_load_time": "load"},
        constants={"workspace_id": "w1"},
        values={"event_type": {"view": "pageview"}},
        time="unix_s",
    ) == {"workspace_id": "w1", "event_type": "pageview", "viewport_width": 1280, "page_load_time": 12.5}


def test_of_several_columns_the_first_that_holds_something_counts() -> None:
    columns = {"page_url": ["properties.url?", "context.page.url?"]}
    for row, wanted in (
        ({"properties": {"url": "a"}, "context": {"page": {"url": "b"}}}, "a"),
        ({"context": {"page": {"url": "b"}}, "properties": {"url": ""}}, "b"),
        ({"properties": {}}, None),
    ):
        rest = {name: value for name, value in ROW.items() if name != "page_url"}
        assert data({**rest, **row}, columns=columns, ignore_other_columns=True).get("page_url") == wanted


def test_a_constant_fills_rows_that_have_no_value() -> None:
    assert data({**ROW, "environment": None}, constants={"environment": "prod"})["environment"] == "prod"
    assert data({**ROW, "environment": "test"}, constants={"environment": "prod"})["environment"] == "test"


@pytest.mark.parametrize(
    ("written", "value", "milliseconds"),
    [
        ("unix_us", 1_740_823_200_123_456, 123),
        ("unix_us", "1740823200123999", 123),
        ("unix_ms", "1740823200123", 123),
        ("unix_s", 1_740_823_200.5, 500),
        ("unix_s", Decimal("1740823200.0019"), 1),
        ("iso", "2025-03-01 10:00:00.123456 UTC", 123),
        ("iso", "2025-03-01T11:00:00+01:00", 0),
        ("iso", datetime(2025, 3, 1, 10, tzinfo=UTC), 0),
        ("iso", datetime(2025, 3, 1, 10, 0, 0, 1_999), 1),  # noqa: DTZ001 - as Parquet has it
        ("unix_us", datetime(2025, 3, 1, 10, tzinfo=UTC), 0),
    ],
)
def test_a_time_is_read_to_the_millisecond_however_it_is_written(written: str, value: Any, milliseconds: int) -> None:
    time_ms, record = mapped({**ROW, "timestamp": value}, time=written)
    assert time_ms == AT_MS + milliseconds
    assert record["timestamp"] == f"2025-03-01T10:00:00.{milliseconds:03}Z"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("unix_us", "1e99999999999"), ("unix_us", float("nan")), ("unix_us", 10**17), ("unix_s", "now"),
        ("iso", "1740823200"), ("iso", "yesterday"), ("iso", None), ("unix_s", True),
    ],
)  # fmt: skip
def test_what_is_no_time_is_rejected(written: str, value: Any) -> None:
    with pytest.raises(RejectedRecord, match=r"timestamp|greater"):
        mapped({**ROW, "timestamp": value}, time=written)


@pytest.mark.parametrize(
    ("value", "text"),
    [(99, "99"), (49.9, "49.9"), (True, "true"), (Decimal("49.90"), "49.90"), (10**30, "1" + "0" * 30)],
)
def test_numbers_are_texts_where_a_text_is_meant(value: Any, text: str) -> None:
    assert data({**ROW, "event_value": value})["event_value"] == text
    assert mapped({**ROW, "session_id": value})[1]["session_id"] == text


def test_an_object_becomes_metadata_as_canonical_json() -> None:
    metadata = '{"a":[1,{"x":null}],"b":"ü"}'
    assert data({**ROW, "metadata": {"b": "ü", "a": [1, {"x": None}]}})["metadata"] == metadata
    assert data({**ROW, "metadata": '{ "b": "ü", "a": [1, {"x": null}] }'})["metadata"] == metadata
    assert data({**ROW, "metadata": "plain words"})["metadata"] == "plain words"


def test_keys_of_metadata_come_from_columns_and_a_star_spreads_an_object() -> None:
    row = {**ROW, "name": "n", "properties": {"a": 1, "url": "u", "kind": "inner"}, "kind": "outer", "items": None}
    metadata = {"event": "name", "kind": "kind", "items": "items?", "*": "properties.*"}
    found = data(row, columns={"clicked_url": "properties.url"}, metadata=metadata)
    assert json.loads(found["metadata"]) == {"event": "n", "kind": "outer", "a": 1}
    assert found["clicked_url"] == "u"


def test_what_is_ignored_is_in_no_star() -> None:
    row = {**ROW, "properties": {"a": 1, "ip": "10.0.0.1", "geo": {"lat": 1, "city": "c"}}}
    found = data(row, columns={"metadata": "properties.*"}, ignore=["properties.ip", "properties.geo.lat"])
    assert json.loads(found["metadata"]) == {"a": 1, "geo": {"city": "c"}}


def test_a_row_stands_for_each_element_of_the_column_that_is_exploded() -> None:
    mapping = ColumnMapping(explode="actions", columns={"event_type": "actions.type", "session_id": "visitor"})
    mapper = RowMapper(mapping)
    row = {"visitor": "v", "timestamp": ROW["timestamp"], "actions": [{"type": "click"}, {"type": "scroll"}]}
    records = [json.loads(mapper.map(each).value) for each in mapper.rows(row)]
    assert [(record["session_id"], record["data"]["event_type"]) for record in records] == [
        ("v", "click"),
        ("v", "scroll"),
    ]
    assert not list(mapper.rows({"visitor": "v", "actions": []}))
    assert mapper.coverage.dropped == {"nothing in actions": 1}


def test_unknown_values_take_the_default_or_drop_their_row_and_are_counted() -> None:
    rules = {"drop": {"event_type": ["identify"]}, "values": {"event_type": {"view": "pageview"}}}
    mapper = RowMapper(ColumnMapping(**rules, otherwise={"event_type": {"default": "click"}, "device_type": "drop"}))
    found = {}
    for kind in ("view", "scroll", "upgraded", "upgraded", "identify"):
        record = mapper.map({**ROW, "event_type": kind})
        found[kind] = record and json.loads(record.value)["data"]["event_type"]
    assert found == {"view": "pageview", "scroll": "scroll", "upgraded": "click", "identify": None}
    assert mapper.map({**ROW, "device_type": "Fridge"}) is None
    assert mapper.map({**ROW, "device_type": "tablet"}) is not None
    assert mapper.coverage.defaulted == {"event_type upgraded": 2}
    assert mapper.coverage.dropped == {"event_type identify": 1, "device_type Fridge": 1}


def test_a_number_is_multiplied_into_the_unit_of_its_field() -> None:
    row = {**ROW, "time_on_page": "12.5", "scroll_percentage": 0.57, "event_value": "4990000"}
    found = data(row, multiply={"time_on_page": 1000, "scroll_percentage": 100, "event_value": 0.000001})
    assert (found["time_on_page"], found["scroll_percentage"], found["event_value"]) == (12_500, 57, "4.99")


def test_a_word_may_be_mapped_to_nothing() -> None:
    found = data({**ROW, "referrer_url": "$direct"}, values={"referrer_url": {"$direct": ""}})
    assert "referrer_url" not in found


@pytest.mark.parametrize("value", [{"a": 1}, [1]])
def test_an_object_is_no_text(value: Any) -> None:
    with pytest.raises(RejectedRecord, match=r"page_url: is an? .*and must be a text"):
        mapped({**ROW, "page_url": value})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"session_id": None}, "session_id"),
        ({"event_type": "dance"}, "event_type"),
        ({"viewport_width": "wide"}, "viewport_width"),
        ({"viewport_width": float("inf")}, "viewport_width"),
        ({"shoe_size": "43"}, "shoe_size"),
        ({"session_id": "\ud800"}, "JSON"),
        ({"passive": "perhaps"}, "passive"),
        ({"metadata": [1]}, "metadata"),
        ({"country": "Germany"}, "country"),
    ],
)
def test_a_row_that_is_no_event_is_rejected_with_its_reason(change: dict, reason: str) -> None:
    with pytest.raises(RejectedRecord) as rejected:
        mapped({**ROW, **change})
    assert reason in rejected.value.detail


def test_an_object_that_is_nested_too_deeply_is_rejected() -> None:
    deep: dict = {}
    for _ in range(MAX_METADATA_DEPTH):
        deep = {"a": deep}
    with pytest.raises(RejectedRecord, match="metadata: nested deeper than"):
        mapped({**ROW, "metadata": deep})


def test_other_columns_are_ignored_only_when_told_so() -> None:
    assert "shoe_size" not in data({**ROW, "shoe_size": "43"}, ignore_other_columns=True)


def test_a_column_that_never_holds_anything_is_an_error_that_names_it() -> None:
    mapper = RowMapper(ColumnMapping(columns={"page_url": "properties.ulr", "user_id": ["who?", "whom"]}))
    rest = {name: value for name, value in ROW.items() if name != "page_url"}
    mapper.map({**rest, "properties": {"url": "u", "ulr": ""}})
    with pytest.raises(ConfigurationError, match=r"column properties\.ulr, whom: correct"):
        mapper.coverage.require()
    mapper.map({**rest, "properties": {"ulr": "u"}, "whom": 1})
    mapper.coverage.require()


def test_how_many_rows_fill_each_field_is_counted() -> None:
    mapper = RowMapper(ColumnMapping(columns={"page_url": "url?"}, ignore_other_columns=True))
    for row in (ROW, {**ROW, "url": "u"}):
        mapper.map({name: value for name, value in row.items() if name != "page_url"})
    assert (mapper.coverage.filled["event_type"], mapper.coverage.filled["page_url"]) == (2, 1)


@given(st.dictionaries(st.sampled_from([*ROW, "metadata", "viewport_width", "passive", "country"]), values))
def test_whatever_a_file_holds_is_a_record_or_a_reject(row: dict) -> None:
    for time in ("iso", "unix_us"):
        try:
            RowMapper(ColumnMapping(time=time)).map({**ROW, **row})
        except RejectedRecord as rejected:
            assert rejected.detail  # noqa: PT017 - it is one of two that are right


def test_a_visitor_is_read_from_page_and_user_agent_as_live_does() -> None:
    row = {
        "session_id": "s",
        "timestamp": "2026-11-28T10:00:00Z",
        "event_type": "pageview",
        "page_url": "https://shop.example/?utm_source=news&utm_medium=email&gclid=Cj0K",
        "referrer_url": "https://search.example/q",
        "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.1 Mobile/15E148 Safari/604.1",
        "utm_medium": "newsletter",
    }
    mapped = RowMapper(ColumnMapping()).map(row)
    assert mapped is not None
    visitor = json.loads(mapped.value)["visitor"]
    assert (visitor["utm_source"], visitor["click_id"], visitor["referrer_host"]) == ("news", "Cj0K", "search.example")
    assert (visitor["device_type"], visitor["os"]) == ("mobile", "iOS")
    assert visitor["utm_medium"] == "newsletter"  # what the row says itself counts


def test_a_row_without_a_page_or_a_browser_has_no_visitor() -> None:
    row = {"session_id": "s", "timestamp": "2026-11-28T10:00:00Z", "event_type": "click"}
    mapped = RowMapper(ColumnMapping()).map(row)
    assert mapped is not None
    assert "visitor" not in json.loads(mapped.value)
