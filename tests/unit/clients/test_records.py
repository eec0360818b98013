"""Records that the Kafka client makes: what it lets through the processor takes, and the other way round."""

import json
from typing import Any

import pytest
from event_tracker_client import Undelivered
from event_tracker_client.kafka import KafkaClient
from hypothesis import example, given
from hypothesis import strategies as st

from topics.codec import RejectedRecord, decode_source
from topics.event import EVENT_TYPES, EventInput
from topics.session import SessionInput

#: Nothing listens here; none of these tests sends.
NOWHERE = "127.0.0.1:1"

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 100_001),
    st.sampled_from([0.0, 1.5, -0.1, 100.0, 100.1, 86_400_000, 86_400_001, 1e300]),
    st.text(max_size=3),
    st.sampled_from([1, 128, 129, 512, 1_024, 1_025, 2_048, 2_049, 4_096, 4_097, 16_384, 16_385]).map("ä".__mul__),
    st.sampled_from(["granted", "denied", *EVENT_TYPES]),
    st.just([1]),
)


class Kept(KafkaClient):
    """Keeps its records instead of sending them."""

    def __init__(self, workspace_id: str = "w1") -> None:
        self.failures: list[Undelivered] = []
        self.kept: list[tuple[bytes, bytes]] = []
        super().__init__(NOWHERE, workspace_id=workspace_id, on_error=self.failures.append)

    def _produce(self, item: Any) -> None:
        self.kept.append((item.session_id.encode(), item.body))


def data_of(names: Any, *, required: tuple[str, ...] = ()) -> st.SearchStrategy[dict[str, Any]]:
    fields = st.dictionaries(st.sampled_from([*names, "no_such_field", "session_event_sequence"]), VALUES, max_size=4)
    return fields.map(lambda chosen: {**dict.fromkeys(required, "click"), **chosen})


def is_taken(kind: str, data: dict[str, Any]) -> bool:
    """What the processor says of the plain record, without the client's check."""
    beside = {name: data.pop(name) for name in ("passive", "visitor_id") if name in data}
    record = {"type": kind, "session_id": "s", "workspace_id": "w1", "timestamp": "2026-11-25T09:30:00.000Z", **beside}
    try:
        decode_source(b"s", json.dumps({**record, "data": data}).encode())
    except RejectedRecord:
        return False
    return True


def fields_of(shape: Any) -> list[str]:
    # The workspace goes into the envelope, and traits become JSON text: both differ from the plain record on purpose.
    return [name for name in shape.__annotations__ if name not in {"workspace_id", "user_traits"}]


@given(data_of([*fields_of(EventInput), "passive", "visitor_id"], required=("event_type",)))
@example({"event_type": "pageview", "scroll_percentage": True})
@example({"event_type": "pageview", "viewport_width": 1.0})
@example({"event_type": None})
def test_an_event_is_refused_here_if_and_only_if_the_processor_would_refuse_it(data: dict[str, Any]):
    client = Kept()
    expected = dict(data)
    if not expected.get("event_id", ""):
        expected["event_id"] = "minted"  # a missing id is drawn
    client.track("s", **data)
    assert bool(client.kept) == is_taken("event", expected), client.failures
    for key, value in client.kept:
        assert decode_source(key, value)["type"] == "event"


@given(data_of([*fields_of(SessionInput), "visitor_id"]))
def test_a_session_is_refused_here_if_and_only_if_the_processor_would_refuse_it(data: dict[str, Any]):
    client = Kept()
    client.init_session("s", **data)
    assert bool(client.kept) == is_taken("session", dict(data)), client.failures
    for key, value in client.kept:
        assert decode_source(key, value)["type"] == "session"


@given(st.one_of(st.text(max_size=4), st.sampled_from(["s" * 128, "s" * 129, "a b", "a\n", "a\x7f", "é", "\ud800"])))
def test_a_session_id_is_the_key_or_it_is_refused(session_id: str):
    client = Kept()
    client.track(session_id, "click", event_id="e")
    client.end_session(session_id)
    client.flush_session(session_id)
    client.init_session(session_id)
    sendable = (
        session_id.encode(errors="replace").decode().replace("?", "\ufffd") if "\ud800" in session_id else session_id
    )
    record = {
        "type": "event",
        "session_id": sendable,
        "timestamp": "2026-11-25T09:30:00Z",
        "data": {"event_type": "click"},
    }
    try:
        decode_source(sendable.encode(), json.dumps(record).encode())
    except RejectedRecord:
        assert (len(client.kept), len(client.failures)) == (0, 4)
        assert all(failure.reasons[0].startswith("session_id: ") for failure in client.failures)
    else:
        kinds = [decode_source(*record)["type"] for record in client.kept]
        assert kinds == ["event", "expire", "flush", "session"]


@pytest.mark.parametrize(
    ("time", "stored"),
    [
        ("2026-11-25T09:30:00Z", "2026-11-25T09:30:00.000Z"),
        ("2026-11-25T10:30:00.1234567+01:00", "2026-11-25T09:30:00.123Z"),
        ("2026-11-25", "2026-11-25T00:00:00.000Z"),
        ("1999-12-31T23:59:59Z", None),
        ("2100-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("yesterday", None),
        (1_764_063_000, None),
    ],
)
def test_a_time_is_in_the_envelope_or_refused(time: Any, stored: str | None):
    client = Kept()
    client.track("s", "click", timestamp=time)
    client.init_session("s", timestamp=time)
    if stored is None:
        assert {failure.reasons for failure in client.failures} == {
            ("timestamp: must be an ISO 8601 time of this century",)
        }
        return
    for key, value in client.kept:
        assert json.loads(value)["timestamp"] == stored
        decode_source(key, value)


def test_the_workspace_is_named_in_the_envelope():
    client = Kept("w1")
    client.track("s", "click", event_id="e")
    client.track("s", "click", event_id="e", workspace_id="w2")
    client.end_session("s")
    client.track("s", "click", workspace_id="w" * 129)
    records = [json.loads(value) for _, value in client.kept]
    assert [record["workspace_id"] for record in records] == ["w1", "w2", "w1"]
    assert records[0]["data"] == records[1]["data"] == {"event_type": "click", "event_id": "e"}
    assert client.failures[0].reasons == ("workspace_id: must be a text of at most 128 characters",)


def test_traits_become_json_text():
    client = Kept()
    client.identify("s", "u1", {"plan": "pro"})
    assert json.loads(client.kept[0][1])["data"] == {"user_id": "u1", "user_traits": '{"plan":"pro"}'}


def nested(levels: int) -> Any:
    return {"a": nested(levels - 1)} if levels > 1 else {}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"b": 1, "a": [{}, None]}, None),
        ({"a": "x" * (16_384 - len('{"a":""}'))}, None),
        ({"a": "x" * (16_385 - len('{"a":""}'))}, "at most 16384 characters"),
        (nested(8), None),
        (nested(9), "at most 8 levels"),
        ({"a": [[[[[[[1]]]]]]]}, None),
        ({"a": [[[[[[[[1]]]]]]]]}, "at most 8 levels"),
        ({str(n): 1 for n in range(1_000)}, None),
        ({"a": {str(n): 1 for n in range(1_000)}}, "at most 1000 keys"),
        ([1], "must be a text"),
    ],
)
def test_metadata_as_an_object_has_the_limits_that_the_processor_has(metadata: Any, reason: str | None):
    client = Kept()
    client.track("s", "click", event_id="e", metadata=metadata)
    assert bool(client.kept) == is_taken("event", {"event_type": "click", "metadata": metadata})
    if reason is None:
        assert json.loads(client.kept[0][1])["data"]["metadata"] == metadata
    else:
        assert client.failures[0].reasons == (f"metadata: {reason}",)


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        ({}, None),
        ({"schema": "1.0"}, "schema"),
        ({"schema": "1-0-" + "1" * 17}, "schema"),
        ({"schema": None}, "schema"),
        ({"properties": []}, "properties"),
        ({"properties": nested(9)}, "properties"),
        ({"properties": {"a": "x" * 16_384}}, "properties"),
        ({"user_id": "u" * 129}, "user_id"),
        ({"event_type": "Purchase"}, "event_type"),
        ({"event_type": "p" * 65}, "event_type"),
        ({"metadata": None}, None),
        ({"metadata": {}}, "metadata"),
    ],
)
def test_an_own_event_names_its_schema_in_the_envelope_and_is_refused_where_the_processor_would(changed, refused):
    client = Kept()
    event = {"event_type": "purchase", "event_id": "e", "schema": "1-0-0", "properties": {"amount": 1}, **changed}
    client.track("s", **event)
    schema = event.pop("schema")
    record = {"type": "event", "session_id": "s", "timestamp": "2026-11-25T09:30:00Z", "schema": schema, "data": event}
    if refused is None:
        ((key, value),) = client.kept
        assert (json.loads(value)["schema"], json.loads(value)["data"]) == (schema, event)
        assert decode_source(key, value)["schema"] == schema
    else:
        assert [failure.reasons[0].partition(":")[0] for failure in client.failures] == [refused]
        with pytest.raises(RejectedRecord):
            decode_source(b"s", json.dumps(record).encode())


def test_a_record_that_is_too_large_is_refused():
    client = Kept()
    client.track("s", "click", metadata="€" * 16_384, page_url="€" * 4_096, referrer_url="€" * 4_096)
    assert [failure.code for failure in client.failures] == ["oversized"]


@pytest.mark.parametrize("name", ["partitioner", "enable.idempotence", "acks", "bootstrap.servers", "linger.ms"])
def test_what_the_tracker_needs_of_a_producer_cannot_be_changed(name: str):
    with pytest.raises(ValueError, match=name):
        KafkaClient(NOWHERE, workspace_id="w1", config={name: "other"})
