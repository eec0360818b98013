"""What holds of the fold for every log: Hypothesis writes the logs."""

from collections import defaultdict
from dataclasses import replace
from itertools import chain, pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st

from tests.property.session_logs import CUTS, LOGS, RULES, TIGHT_RULES, write
from tests.reference.compare import fold_differences, table_differences
from tests.reference.model import Model
from tests.sessions_log import MINUTE_MS
from topics.headers import read_position
from tracker.sessions.outputs import FoldResult, Output


def outputs(result: FoldResult) -> list[list[Output]]:
    return [result.events, result.sessions, result.dead_letters]


def joined(results: list[FoldResult]) -> list[list[Output]]:
    return [list(chain.from_iterable(parts)) for parts in zip(*map(outputs, results), strict=True)]


@given(LOGS, TIGHT_RULES)
def test_the_fold_makes_of_a_log_what_the_written_rules_say(steps, rules):
    log = write(steps, rules)
    result = log.fold()
    model = Model(rules, log.number, log.partition_of).take(log.records)
    assert fold_differences(model, result) == []
    assert table_differences(model, {key: stored.state for key, stored in log.table.items()}) == []


@given(LOGS)
def test_every_sessions_numbers_are_one_to_n(steps):
    """While closed stubs are kept: a key whose stub is forgotten is a new key again."""
    numbers = defaultdict(list)
    for output in write(steps, replace(RULES, closed_stub_retention_ms=10_000 * MINUTE_MS)).fold().events:
        if output.value:
            row = orjson.loads(output.value)
            numbers[row["workspace_id"], row["session_id"]].append(row["session_event_sequence"])
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())


@given(LOGS, st.sets(CUTS))
def test_splitting_the_log_into_chunks_anywhere_changes_nothing(steps, cuts):
    whole, pieces = write(steps), write(steps)
    expected = [whole.fold()]
    found = [pieces.fold(cut) for cut in sorted(cuts) if cut <= len(pieces.records)] + [pieces.fold()]
    assert joined(found) == joined(expected)
    assert pieces.encoded_table() == whole.encoded_table()


@given(LOGS, CUTS)
def test_a_new_owner_that_rebuilt_everything_goes_on_with_the_same_outputs(steps, cut):
    whole, handed_over = write(steps), write(steps)
    cut = min(cut, len(handed_over.records))
    first = handed_over.fold(cut)
    handed_over.recover()
    assert joined([first, handed_over.fold()]) == joined([whole.fold()])


@given(LOGS, CUTS, CUTS)
def test_a_chunk_folded_again_on_states_that_were_written_gives_no_new_output(steps, begin, end):
    """As after a kill between the changelog's batches: states are ahead of W, and all outputs had been acked."""
    log = write(steps)
    begin, end = sorted((min(begin, len(log.records)), min(end, len(log.records))))
    log.fold(begin)
    mark = log.partition.mark
    first = log.fold(end)
    if any(changed.state is None for changed in first.changed.values()):
        return  # removals travel with W, in the last batch: then nothing is folded again
    log.recover(mark)
    log.go_back_to(begin)
    again = log.fold(end)
    for seen, repeated in zip(outputs(first), outputs(again), strict=True):
        assert {content(output) for output in repeated} <= {content(output) for output in seen}
        positions = [read_position(output.headers) for output in seen]
        assert all(read_position(output.headers) <= positions[-1] for output in repeated)


def content(output: Output) -> tuple:
    """What is sent, and for which source record; a close that was had already leaves its index to the next."""
    return output.key, output.value, read_position(output.headers).offset


@given(LOGS)
def test_source_positions_never_go_back_in_any_output_topic(steps):
    for kind in outputs(write(steps).fold()):
        positions = [read_position(output.headers) for output in kind]
        assert all(before < after for before, after in pairwise(positions))


@given(LOGS)
def test_a_session_is_open_at_its_deadline_and_closed_by_the_first_record_after_it(steps):
    log = write(steps)
    for upto in range(1, len(log.records) + 1):
        log.fold(upto)
        now = log.partition.stream_time_ms
        for stored in log.table.values():
            if stored.state.is_open:
                assert now <= stored.state.deadline_ms(RULES)
            elif stored.state.close_reason == "timeout":
                assert stored.state.closed_ms == stored.state.last_activity_ms + stored.state.timeout_ms < now


@given(LOGS)
def test_what_is_written_down_is_what_was_held(steps):
    log = write(steps)
    log.fold()
    before = log.encoded_table()
    log.recover()
    assert log.encoded_table() == before
