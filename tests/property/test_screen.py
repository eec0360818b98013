"""The screen against the decoder: what it lets pass is valid, whatever a client makes up; what clients send passes."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.codec import MAX_SOURCE_VALUE_BYTES, RejectedRecord, decode_source
from topics.event import EVENT_TYPES, EventInput
from topics.fields import MAX_ID_CHARS, MAX_METADATA_CHARS, MAX_TEXT_CHARS, MAX_URL_CHARS
from topics.screen import are_valid_events
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
    except orjson.JSONEncodeError:  # a surrogate; such an event never gets as far as the screen
        return False
    return True


@given(changed_events().filter(is_json))
def test_what_passes_the_screen_is_taken_by_the_decoder(event: dict) -> None:
    if are_valid_events([orjson.dumps(event)]):
        assert is_taken(event)


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
