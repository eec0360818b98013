"""The table at the head of the fold is walked row by row: a row that says something else than the code fails here."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.sessions_log import MINUTE_MS, START_MS, Log, Record, rows
from topics.dead_letter import CREATE_TIME
from topics.headers import FORWARD_SEAL, FORWARDED_FROM, LogPlace
from tracker.sessions import fold
from tracker.sessions.forwards import ForwardSeal
from tracker.sessions.rules import Rules

KEY = "visitor-1"
SHORT = Rules(closed_stub_retention_ms=MINUTE_MS, forgotten_retention_ms=MINUTE_MS)
SPLIT = Rules(campaign_change="split")
MAIL, ADS = {"utm_source": "mail"}, {"utm_source": "ads"}
LATER_MS = START_MS + 1_000
#: The heading of the table, and where its columns begin.
HEADINGS = ["record", "session", "before", "after,", "and", "what", "goes", "out"]
RECORD_AT, BEFORE_AT, AFTER_AT = 4, 22, 43

Write = Callable[[Log], None]


class Out(NamedTuple):
    """How many rows, letters and forwards a record gives, and the key's state after it ("": none) with its number."""

    state: str = ""
    sequence: int = 0
    events: int = 0
    sessions: int = 0
    letters: int = 0
    forwards: int = 0


class Step(NamedTuple):
    """A record on a session, and what it has to give."""

    before: Write
    record: Write
    out: Out
    rules: Rules = Rules()


def nothing(log: Log) -> None:
    """The key has never been used."""


def opened(log: Log) -> None:
    log.event(KEY, event_id="first")


def by_mail(log: Log) -> None:
    log.event(KEY, event_id="first", visitor=MAIL)


def stub(log: Log) -> None:
    opened(log)
    log.expire(KEY)


def forgotten(log: Log) -> None:
    stub(log)
    log.tick(START_MS + 2 * MINUTE_MS)


def a_copy(log: Log) -> None:
    """Taken, forwarded from another partition."""
    log.event(KEY, event_id="first")
    log.records[-1] = sealed(log.records[-1])


def sealed(record: Record) -> Record:
    place = LogPlace(0, 5)
    seal = ForwardSeal().of(place, record.key or b"", record.value or b"")
    return record._replace(headers=((FORWARDED_FROM, place.encode()), (FORWARD_SEAL, seal)))


def tick(minutes: int) -> Write:
    return lambda log: log.tick(START_MS + minutes * MINUTE_MS)


def event(log: Log) -> None:
    log.event(KEY, LATER_MS, event_id="second")


def passive(log: Log) -> None:
    log.event(KEY, LATER_MS, event_id="second", envelope={"passive": True})


def passive_too_late(log: Log) -> None:
    log.event(KEY, START_MS + 25 * 60 * MINUTE_MS, event_id="second", envelope={"passive": True})


def session(**data: str) -> Write:
    return lambda log: log.session(KEY, LATER_MS, **data)


def untimed(log: Log) -> None:
    event(log)
    log.records[-1] = log.records[-1]._replace(timestamp_type=CREATE_TIME)


def elsewhere(log: Log) -> None:
    """From here on the key belongs to another partition."""
    log.partition_of = lambda _: log.number + 1
    log.partition = log._new_fold(log.partition.mark)


def forwarded_before(log: Log) -> None:
    event(log)
    log.records[-1] = sealed(log.records[-1])


#: By record and session before, as the table names them.
STEPS: dict[tuple[str, str], list[Step]] = {
    ("any", "open, now > deadline"): [
        Step(opened, tick(31), Out("timeout", 1, sessions=1)),
        Step(opened, tick(2), Out("max_length", 1, sessions=1), Rules(max_length_ms=MINUTE_MS)),
    ],
    ("any", "stub, now > deadline"): [Step(stub, tick(2), Out("forgotten"), SHORT)],
    ("any", "forgotten, and past its deadline"): [Step(forgotten, tick(5), Out(), SHORT)],
    ("not one of ours", "any"): [
        Step(nothing, lambda log: log.raw(KEY.encode(), b"{"), Out(letters=1)),
        Step(opened, lambda log: log.raw(KEY.encode(), b"{"), Out("open", 1, letters=1)),
    ],
    ("its producer's time", "any"): [Step(nothing, untimed, Out(letters=1))],
    ("tick", "any"): [Step(nothing, tick(1), Out()), Step(opened, tick(1), Out("open", 1))],
    ("of another partition's key", "none"): [
        Step(elsewhere, event, Out(forwards=1)),
        Step(elsewhere, forwarded_before, Out(letters=1)),
    ],
    ("a copy that was taken before", "any"): [Step(a_copy, forwarded_before, Out("open", 1))],
    ("event", "any, remembered"): [
        Step(opened, opened, Out("open", 1)),
        Step(stub, opened, Out("expired", 1)),
    ],
    ("event or session", "open, of no workspace"): [
        Step(opened, lambda log: log.event(KEY, workspace_id="w"), Out("open", 1, events=1, sessions=2)),
        Step(opened, session(workspace_id="w"), Out("open", 0, sessions=2)),
    ],
    ("event or session", "open, of another campaign"): [
        Step(by_mail, lambda log: log.event(KEY, visitor=ADS), Out("open", 1, 1, 2), SPLIT),
        Step(by_mail, lambda log: log.session(KEY, visitor=ADS), Out("open", 0, sessions=2), SPLIT),
    ],
    ("event", "none, or stub"): [
        Step(nothing, event, Out("open", 1, events=1, sessions=1)),
        Step(stub, event, Out("open", 1, events=1, sessions=1)),
    ],
    ("event", "open"): [
        Step(opened, event, Out("open", 2, events=1)),
        Step(opened, lambda log: log.event(KEY, visitor=MAIL), Out("open", 2, events=1, sessions=1)),
    ],
    ("passive event", "open"): [Step(opened, passive, Out("open", 2, events=1))],
    ("passive event", "stub within grace"): [Step(stub, passive, Out("expired", 2, events=1, sessions=1))],
    ("passive event", "none, or other stub"): [
        Step(nothing, passive, Out()),
        Step(stub, passive_too_late, Out("expired", 1)),
    ],
    ("session", "none, or stub"): [
        Step(nothing, session(), Out("open", 0, sessions=1)),
        Step(stub, session(), Out("open", 0, sessions=1)),
    ],
    ("session", "open"): [
        Step(opened, session(), Out("open", 1)),
        Step(opened, session(landing_page_id="spring"), Out("open", 1, sessions=1)),
    ],
    ("session that may only open", "open"): [
        Step(
            opened,
            lambda log: log.session(KEY, LATER_MS, landing_page_id="spring", envelope={"open_only": True}),
            Out("open", 1),
        ),
    ],
    ("event, session", "open, now at a cap"): [
        Step(nothing, event, Out("cap", 1, events=1, sessions=2), Rules(max_events=1)),
        Step(opened, session(landing_page_id="spring"), Out("cap", 1, sessions=2), Rules(max_context_bytes=3)),
    ],
    ("expire", "open"): [Step(opened, lambda log: log.expire(KEY), Out("expired", 1, sessions=1))],
    ("expire", "none, or stub"): [
        Step(nothing, lambda log: log.expire(KEY), Out()),
        Step(stub, lambda log: log.expire(KEY), Out("expired", 1)),
    ],
    ("flush", "any"): [
        Step(nothing, lambda log: log.flush(KEY), Out()),
        Step(opened, lambda log: log.flush(KEY), Out("open", 1)),
    ],
}


def transitions() -> list[tuple[str, str]]:
    """Record and session before of each row of the table, whose cells may go on, indented, in the next line."""
    text = inspect.getdoc(fold) or ""
    found: list[list[str]] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.split() == HEADINGS:
            break
    for line in lines:
        if not line:
            break
        cells = [line[RECORD_AT:BEFORE_AT].strip(), line[BEFORE_AT:AFTER_AT].strip()]
        if line[RECORD_AT] == " ":
            found[-1] = [f"{cell} {more}".strip() for cell, more in zip(found[-1], cells, strict=True)]
        else:
            found.append(cells)
    return [(record, before) for record, before in found]


def test_each_row_of_the_table_is_walked_and_no_other():
    assert sorted(transitions()) == sorted(STEPS)


@pytest.mark.parametrize(
    "step",
    [pytest.param(step, id=f"{record}: {before}") for (record, before), steps in STEPS.items() for step in steps],
)
def test_a_transition_gives_what_the_table_says(step: Step):
    log = Log(step.rules)
    step.before(log)
    log.fold()
    step.record(log)
    result = log.fold()
    row = log.table.get(KEY.encode())
    state = None if row is None else row.state
    assert (
        Out(
            "" if state is None else state.close_reason or "open",
            0 if state is None else state.sequence,
            len(rows(result.events)),
            len(rows(result.sessions)),
            len(result.dead_letters),
            len(result.forwards),
        )
        == step.out
    )


@pytest.mark.parametrize("before", [nothing, opened])
def test_a_flush_and_an_end_on_purpose_put_markers_into_both_output_topics(before: Write):
    log = Log()
    before(log)
    log.fold()
    log.expire(KEY)
    log.flush(KEY)
    result = log.fold()
    markers = 1 if before is nothing else 2
    assert [len(outputs) - len(rows(outputs)) for outputs in (result.events, result.sessions)] == [markers, markers]
