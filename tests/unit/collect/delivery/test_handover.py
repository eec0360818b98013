"""The two state machines of delivery are what their tables say, and no path through them loses a record."""

import itertools
import re
from collections.abc import Iterator

import pytest

from tracker.collect.delivery import handover
from tracker.collect.delivery.handover import (
    BATCHES,
    MODES,
    BatchAction,
    BatchEvent,
    BatchState,
    Mode,
    ModeAction,
    ModeEvent,
    next_batch_state,
    next_mode,
)
from tracker.errors import InvariantError

ACTIONS = {
    "": BatchAction.NONE,
    "accept": BatchAction.ACCEPT,
    "fail": BatchAction.FAIL,
    "forget": BatchAction.FORGET,
    "accept, forget": BatchAction.ACCEPT_AND_FORGET,
}
MODE_ACTIONS = {
    "": ModeAction.NONE,
    "hold": ModeAction.HOLD,
    "release": ModeAction.RELEASE,
    "take back": ModeAction.TAKE_BACK,
}
#: The longest path through the batches' states, which have no cycle but SENDING and WAITING.
MAX_STEPS = 8
PRODUCER_HAS_IT = {
    BatchState.SENDING,
    BatchState.SENDING_SPILLING,
    BatchState.SENDING_SPILLED,
    BatchState.SENDING_FAILED,
}
ENDS = {BatchState.SPILLED, BatchState.FAILED, BatchState.ARRIVED}


def rows(title: str) -> Iterator[list[str]]:
    """The rows of the table whose head begins with this word, as cells; an empty first cell repeats the one above."""
    lines = iter(handover.__doc__.splitlines())
    next(line for line in lines if line.startswith(f"    {title} "))
    rule = next(lines)
    columns = [match.span() for match in re.finditer("-+", rule)]
    first = ""
    for line in itertools.takewhile(str.strip, lines):
        cells = [line[begin:end].strip() for begin, end in columns]
        first = cells[0] = cells[0] or first
        yield cells


def test_the_modes_table_is_the_code():
    table = {
        (Mode[mode], ModeEvent[event]): (Mode[then], MODE_ACTIONS[action])
        for mode, _, event, then, action in rows("mode")
    }
    assert table == MODES


def test_the_batches_table_is_the_code():
    table = {
        (BatchState[state], BatchEvent[event]): (BatchState[then], ACTIONS[action])
        for state, event, then, action in rows("state")
    }
    assert table == BATCHES


def test_an_event_that_can_not_happen_is_a_bug():
    for mode, event in set(itertools.product(Mode, ModeEvent)) - set(MODES):
        with pytest.raises(InvariantError):
            next_mode(mode, event)
    for state, event in set(itertools.product(BatchState, BatchEvent)) - set(BATCHES):
        with pytest.raises(InvariantError):
            next_batch_state(state, event)


def test_trouble_leads_to_the_spill_from_every_mode():
    assert {next_mode(mode, ModeEvent.TROUBLE)[0] for mode in Mode} == {Mode.SPILLING}


def paths() -> Iterator[list[tuple[BatchState, BatchEvent, BatchState, BatchAction]]]:
    """Every path from WAITING that is not longer than MAX_STEPS."""
    open_paths = [[]]
    for _ in range(MAX_STEPS):
        longer = []
        for path in open_paths:
            at = path[-1][2] if path else BatchState.WAITING
            for (state, event), (then, action) in BATCHES.items():
                if state is at:
                    longer.append([*path, (state, event, then, action)])
        yield from longer
        open_paths = longer


def test_every_state_is_reached_and_only_ends_have_no_way_out():
    reached = {BatchState.WAITING} | {step[2] for path in paths() for step in path}
    assert reached == set(BatchState)
    moving = {state for (state, _), (then, _) in BATCHES.items() if then is not state}
    assert set(BatchState) - moving == ENDS


def test_the_requests_are_told_once_and_202_only_when_the_records_are_in_kafka_or_on_disk():
    for path in paths():
        told = [(event, action) for _, event, _, action in path if action not in (BatchAction.NONE, BatchAction.FORGET)]
        assert len(told) <= 1, path
        if path[-1][2] in ENDS:
            assert len(told) == 1, path
        for event, action in told:
            is_safe = event in (BatchEvent.ACKED, BatchEvent.WRITTEN)
            assert (action is not BatchAction.FAIL) == is_safe, path


def test_records_that_are_accepted_are_never_dropped():
    """Whatever follows a 202: they are in Kafka, or on disk; and they leave the disk only when Kafka has them."""
    for path in paths():
        on_disk = in_kafka = accepted = False
        for _, event, _, action in path:
            in_kafka = in_kafka or event is BatchEvent.ACKED
            on_disk = on_disk or event is BatchEvent.WRITTEN
            accepted = accepted or action in (BatchAction.ACCEPT, BatchAction.ACCEPT_AND_FORGET)
            if action in (BatchAction.FORGET, BatchAction.ACCEPT_AND_FORGET):
                assert in_kafka, path
            if accepted:
                assert in_kafka or on_disk, path


def test_kafkas_answer_is_taken_in_every_state_in_which_the_producer_has_the_batch():
    for state in BatchState:
        for event in (BatchEvent.ACKED, BatchEvent.REFUSED):
            assert ((state, event) in BATCHES) == (state in PRODUCER_HAS_IT)
