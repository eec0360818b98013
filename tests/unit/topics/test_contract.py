"""The contract with the outside: exactly the plan's fields, and limits that fit each other."""

import re
from typing import get_args

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from topics.catalog import CATALOG, CHANGELOG, MIN_COMPACTION_LAG_MS, SOURCE
from topics.codec import MAX_SOURCE_VALUE_BYTES, RejectedRecord, decode_source, encode
from topics.event import EventData, EventInput, EventRecord, EventType
from topics.headers import SourcePosition, position_writer, read_position, write_old_position, write_position
from topics.session import MAX_TIMEOUT_SECONDS, SessionRecord, SessionRow
from topics.visitor import VISITOR_DEFAULTS, Visitor

#: EventData as the plan has it; a question mark makes a field optional.
PLAN = """
timestamp id event_id event_value event_value_type event_type user_id campaign_id session_id attribution_id workspace_id
project_id landing_page_id ab_test_id? ab_test_variant_id? form_id? clicked_element? clicked_url? page_load_time?
dom_ready_time? scroll_percentage? time_on_page? session_event_sequence viewport_width? viewport_height? metadata?
environment campaign_environment page_url referrer_url?
"""
#: What the server alone decides.
OURS = {"timestamp", "id", "session_id", "session_event_sequence"}


def test_event_data_has_exactly_the_plans_fields():
    fields = re.findall(r"(\w+)(\??)", PLAN)
    assert list(EventData.__annotations__) == [name for name, _ in fields]
    assert EventData.__optional_keys__ == {name for name, optional in fields if optional}
    assert get_args(EventType) == ("pageview", "click", "scroll", "form_submit", "conversion")


def test_a_producer_may_send_all_of_it_but_what_the_server_decides():
    assert set(EventInput.__annotations__) == set(EventData.__annotations__) - OURS


@pytest.mark.parametrize("field", sorted(OURS | {"unheard_of"}))
def test_what_the_server_decides_and_what_nobody_knows_is_refused(field: str):
    with pytest.raises(ValidationError, match="Extra inputs"):
        TypeAdapter(EventInput).validate_python({"event_type": "click", field: "1"})


def test_the_changelog_keeps_every_write_longer_than_any_open_session_can_be_silent():
    assert 2 * MAX_TIMEOUT_SECONDS * 1000 <= MIN_COMPACTION_LAG_MS
    assert CHANGELOG.config["min.compaction.lag.ms"] == str(MIN_COMPACTION_LAG_MS)


def test_the_broker_stamps_the_source():
    assert SOURCE.config["message.timestamp.type"] == "LogAppendTime"
    assert len({topic.suffix for topic in CATALOG}) == len(CATALOG)


def test_times_come_out_in_utc():
    value = b'{"type":"session","session_id":"s","timestamp":"2026-01-01T00:00:00","data":{}}'
    assert b'"2026-01-01T00:00:00Z"' in encode(decode_source(b"s", value))


@pytest.mark.parametrize("size", [MAX_SOURCE_VALUE_BYTES, MAX_SOURCE_VALUE_BYTES + 1])
def test_the_size_limit_is_inclusive(size: int):
    with pytest.raises(RejectedRecord) as rejected:
        decode_source(b"s", b" " * size)
    assert rejected.value.reason == ("oversized" if size > MAX_SOURCE_VALUE_BYTES else "not_json")


def test_a_reason_names_the_field_and_never_repeats_the_value():
    secret = b"hunter2"
    value = b'{"type":"session","session_id":"s","timestamp":"2026-01-01T00:00:00Z","data":{"user_id":["%s"]}}' % secret
    with pytest.raises(RejectedRecord) as rejected:
        decode_source(b"s", value)
    assert "session.data.user_id" in rejected.value.detail
    assert secret.decode() not in rejected.value.detail


def test_a_position_is_read_from_headers_or_not_at_all():
    assert read_position([("source-position", b"1:12:3")]) == SourcePosition(12, 3)
    assert read_position([("other", b"x"), ("source-position", b"1:12:3")]) == SourcePosition(12, 3)
    for value in (b"", b"12", b"1:12", b"1:x:3", b"1:12:3:4"):
        assert read_position([("source-position", value)]) is None
    assert read_position([]) is None


def test_a_position_is_written_as_one_header_for_the_outputs_of_any_partition():
    assert write_position(1, 12, 3) == [("source-position", b"1:12:3")]
    write = position_writer(20)
    assert (write(12, 3), write(13, 0)) == ([("source-position", b"20:12:3")], [("source-position", b"20:13:0")])


def test_a_position_as_release_0_1_0_wrote_it_is_read_too():
    headers = write_old_position(1, 12, 3)
    assert headers == [("source-partition", b"1"), ("source-offset", b"12"), ("source-index", b"3")]
    assert read_position(headers) == read_position(write_position(1, 12, 3)) == SourcePosition(12, 3)
    assert read_position(headers[:2]) is None
    assert read_position([("source-offset", b"x"), ("source-index", b"3")]) is None


def test_every_field_of_a_visitor_is_a_column_of_the_session_and_none_of_an_event():
    assert set(Visitor.__annotations__) == set(VISITOR_DEFAULTS) <= set(SessionRow.__annotations__)
    assert not set(Visitor.__annotations__) & set(EventData.__annotations__)


@pytest.mark.parametrize(("kind", "record"), [("event", EventRecord), ("session", SessionRecord)])
def test_the_envelope_takes_a_visitor_and_the_clients_own_time(kind: str, record: type):
    fields = {"type": kind, "session_id": "s", "timestamp": "2026-01-01T00:00:00Z", "data": {"event_type": "click"}}
    if kind == "session":
        fields["data"] = {}
    given = {**fields, "client_timestamp": "2026-01-01T00:00:03Z", "visitor": {"country": "DE", "device_type": "bot"}}
    assert decode_source(b"s", orjson.dumps(given)) == TypeAdapter(record).validate_json(orjson.dumps(given))


@pytest.mark.parametrize(
    "visitor",
    [{"country": "Germany"}, {"device_type": "fridge"}, {"is_bot": "no"}, {"user_agent": "x" * 513}, {"x": "y"}],
)
def test_a_visitor_beyond_its_limits_is_refused(visitor: dict):
    with pytest.raises(ValidationError):
        TypeAdapter(Visitor).validate_json(orjson.dumps(visitor))
