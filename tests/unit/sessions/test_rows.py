"""Rows of events, part by part: what comes from the session, the id, and the time."""

import pytest
from msgspec import UNSET

from tests.sessions_log import START_MS, Log, rows
from topics.records import EVENT, Keyed, decode_record
from topics.session import CONTEXT_FIELDS
from tracker.sessions.keys import event_row_id, event_row_prefix
from tracker.sessions.rows import MAX_RENDERED_SESSIONS

#: What sessions give to their events; the workspace is told apart.
GIVEN = sorted({*CONTEXT_FIELDS} - {"workspace_id"})


@pytest.mark.parametrize("said", GIVEN)
def test_an_event_has_what_it_says_itself_and_all_else_from_its_session(said: str):
    log = Log()
    log.session("s", **{name: f"of the session: {name}" for name in GIVEN})
    log.event("s", **{said: "its own"})
    log.event("s")
    one, other = rows(log.fold().events)
    assert [one[name] for name in GIVEN] == ["its own" if name == said else f"of the session: {name}" for name in GIVEN]
    assert [other[name] for name in GIVEN] == [f"of the session: {name}" for name in GIVEN]


@pytest.mark.parametrize("empty", ["", None])
@pytest.mark.parametrize("name", ["ab_test_id", "ab_test_variant_id"])
def test_the_session_s_test_comes_in_place_of_an_empty_one(name: str, empty: str | None):
    log = Log()
    log.session("s", **{name: "b"})
    log.event("s", **{name: empty})
    log.event("other", **{name: empty})
    one, other = rows(log.fold().events)
    assert one[name] == "b"
    assert name not in other


def test_the_bytes_of_rows_are_what_they_were_in_every_release_of_this_layout():
    log = Log()
    log.session("s", workspace_id="w", user_id="u")
    log.event("s", event_id='say "é"', ab_test_id="")
    log.event("s", event_id="2", environment="test", page_url="https://shop.example/")
    log.event("s", event_id="3")  # lacks what the first one lacked, not the one before it
    begin = b'{"timestamp":"2026-01-01T00:00:00Z","id":"%b","event_id":%b,"session_event_sequence":%d,'
    given = b'"session_id":"s","workspace_id":"w","user_id":"u","campaign_id":"","project_id":"","attribution_id":"",'
    more = b'"landing_page_id":"",'
    lacking = b'"environment":"","campaign_environment":"","event_value":"","event_value_type":"","page_url":"",'
    saying = b'"campaign_environment":"","event_value":"","event_value_type":"","environment":"test",'
    end = b'"event_type":"click"}'
    assert [output.value for output in log.fold().events] == [
        begin % (b"470e4165-1cce-812c-b901-74ecaba68dd2", b'"say \\"\xc3\xa9\\""', 1) + given + more + lacking + end,
        begin % (b"e162d551-a0cc-8d5f-94a5-88140f9a4a70", b'"2"', 2)
        + given + more + saying + b'"page_url":"https://shop.example/",' + end,
        begin % (b"ced4e5ec-eae3-869d-9825-21d390e14266", b'"3"', 3) + given + more + lacking + end,
    ]  # fmt: skip


def test_the_bytes_of_a_session_are_what_they_were_in_every_release_of_this_layout():
    log = Log()
    log.event("s", workspace_id="w", user_id="u", visitor={"city": "Köln", "is_bot": True, "utm_source": "mail"})
    log.expire("s", at=START_MS + 1)
    says = (
        b'{"visitor_id":"","user_id":"u","campaign_id":"","workspace_id":"w","project_id":"","attribution_id":"",'
        b'"landing_page_id":"","ab_test_id":"","ab_test_variant_id":"","environment":"","campaign_environment":"",'
        b'"user_traits":"","consent_analytics":"","consent_marketing":"","user_agent":"","browser":"",'
        b'"browser_version":"","os":"","os_version":"","device_type":"","is_bot":true,"language":"","country":"",'
        b'"region":"","city":"K\xc3\xb6ln","referrer_host":"","utm_source":"mail","utm_medium":"","utm_campaign":"",'
        b'"utm_term":"","utm_content":"","click_id":"","click_id_type":"","ip":"",'
        b'"touches":"[{\\"at\\":\\"2026-01-01T00:00:00Z\\",\\"utm_source\\":\\"mail\\"}]","session_id":"s",'
        b'"session_key":"s","created_at":"2026-01-01T00:00:00Z","last_activity_at":"2026-01-01T00:00:00Z",'
    )
    is_open = b'"closed_at":null,"close_reason":"","is_expired":false,"event_count":0,'
    is_closed = b'"closed_at":"2026-01-01T00:00:00.001000Z","close_reason":"expired","is_expired":true,"event_count":1,'
    assert [output.value for output in log.fold().sessions] == [
        says + is_open + b'"session_timeout_seconds":1800,"version":0}',
        says + is_closed + b'"session_timeout_seconds":1800,"version":5}',
        None,  # a session that is ended on purpose is shipped at once
    ]


def test_the_id_of_a_row_is_what_it_was_in_every_release_of_this_layout():
    assert event_row_id(event_row_prefix("w", "s", 1), 2, "é") == "6ccd7db3-90e0-8db4-b3fa-1b061775ad47"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-11-25T10:00:00Z", "2026-11-25T10:00:00Z"),
        ("2026-11-25T10:00:00.000000Z", "2026-11-25T10:00:00Z"),
        ("2026-11-25T10:00:00.0Z", "2026-11-25T10:00:00Z"),
        ("2026-11-25T10:00:00.100Z", "2026-11-25T10:00:00.100000Z"),
        ("2026-11-25T10:00:00.5Z", "2026-11-25T10:00:00.500000Z"),
        ("2026-11-25T10:00:00.123456Z", "2026-11-25T10:00:00.123456Z"),
        ("2026-11-25 10:00:00Z", "2026-11-25T10:00:00Z"),
        ("2026-11-25T10:00:00+02:00", "2026-11-25T08:00:00Z"),
    ],
)
def test_a_time_is_written_as_rows_have_it_however_it_came(written: str, read: str):
    for _ in range(2):  # a second that has been seen before is not read again
        record = decode_record(b"s", b'{"type":"flush","session_id":"s","timestamp":"%b"}' % written.encode())
        assert isinstance(record, Keyed)
        assert record.timestamp == read


def test_an_event_is_told_by_its_struct():
    value = b'{"type":"event","session_id":"s","timestamp":"2026-11-25T10:00:00Z","data":{"event_type":"click"}}'
    record = decode_record(b"s", value)
    assert type(record) is EVENT
    assert record.data.metadata is UNSET


def test_parts_of_rows_are_kept_for_so_many_sessions_and_made_again_after_that():
    log = Log()
    for number in range(MAX_RENDERED_SESSIONS):
        log.event(f"s{number}", user_id=f"user {number}")
    log.fold()
    kept = log.partition._outbox._rows._rendered
    assert len(kept) == MAX_RENDERED_SESSIONS
    log.event("another")
    log.event("s0")
    found = rows(log.fold().events)
    assert len(kept) == 2
    assert [row["user_id"] for row in found] == ["", "user 0"]


def test_a_session_s_part_of_its_rows_is_rendered_once_for_all_events_that_lack_the_same():
    log = Log()

    def parts() -> list[object]:
        log.event("s")
        log.event("s", environment="test")
        log.fold()
        rendered = log.partition._outbox._rows._rendered[b"s"]
        return [rendered, *rendered.fillings.values()]

    first, again = parts(), parts()
    assert len(first) == 3
    assert all(one is other for one, other in zip(first, again, strict=True))
    log.session("s", user_id="u")
    assert parts()[0] is not first[0]
