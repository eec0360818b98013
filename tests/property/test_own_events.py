"""Own events, decoded by structs and by pydantic: the same are taken, and the same is read of them."""

from typing import Any

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from topics.codec import RejectedRecord, decode_source
from topics.metadata import canonical
from topics.records import OwnEvent, are_valid_events, decode_record

EVENT: dict[str, Any] = {"type": "event", "session_id": "s", "timestamp": "2026-11-28T10:00:00Z", "schema": "1-0-0"}
NAMES = ["purchase", "a", "click", "Purchase", "a-b", "x" * 65, "", "ä", "a\n", 5, None]
VERSIONS = ["1-0-0", "12-3-45", "0-1-0", "1-0", "01-0-0", "1-0-0\n", "1-0-0-0", "", 1, None, "9" * 20 + "-0-0"]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
events = st.builds(
    lambda schema, data, envelope: {**EVENT, "schema": schema, **envelope, "data": data},
    st.sampled_from(VERSIONS) | st.just("1-0-0"),
    st.fixed_dictionaries(
        {"event_type": st.sampled_from(NAMES) | st.just("purchase"), "properties": st.dictionaries(st.text(), values)},
        optional={
            "metadata": st.sampled_from(["", "x", None, {"a": 1}]),
            "event_id": st.just("e"),
            "form_id": st.none(),
        },
    ),
    st.fixed_dictionaries({}, optional={"passive": st.booleans(), "timestamp": st.sampled_from(["2026-11-28", "x"])}),
)


@given(events)
def test_structs_and_pydantic_agree(event: dict[str, Any]) -> None:
    value = orjson.dumps(event)
    try:
        judged: Any = decode_source(b"s", value)
    except RejectedRecord as rejected:
        judged = rejected.reason
    try:
        read: Any = decode_record(b"s", value)
    except RejectedRecord as rejected:
        read = rejected.reason
    if isinstance(judged, str):
        assert read == judged
        assert not are_valid_events([value])
        return
    assert isinstance(read, OwnEvent)
    assert (read.schema, read.data.event_type) == (event["schema"], event["data"]["event_type"])
    assert read.data.metadata == canonical(event["data"]["properties"])
    assert read.data.properties is msgspec.UNSET


def test_the_fast_check_takes_own_events_among_others() -> None:
    own = orjson.dumps({**EVENT, "data": {"event_type": "purchase", "properties": {"total": 1}}})
    click = b'{"type":"event","session_id":"s","timestamp":"2026-11-28T10:00:00Z","data":{"event_type":"click"}}'
    assert are_valid_events([click, own, click])
    assert not are_valid_events([click, own.replace(b'"purchase"', b'"Purchase"')])
