"""The duplicate filter, for any outputs that a killed processor sends again."""

from hypothesis import given
from hypothesis import strategies as st

from topics.headers import SourcePosition
from tracker.sink.positions import SeenPositions

outputs = st.lists(st.builds(SourcePosition, st.integers(0, 1_000), st.integers(0, 3)), unique=True, max_size=40).map(
    sorted
)


@given(outputs, st.data())
def test_outputs_that_are_sent_again_pass_once_and_in_order(outputs: list[SourcePosition], data: st.DataObject):
    log: list[SourcePosition] = []
    for end in range(1, len(outputs) + 1):
        log.append(outputs[end - 1])
        if data.draw(st.booleans(), label="killed here"):
            again_from = data.draw(st.integers(0, end), label="sends again from")
            log += outputs[again_from:end]
    seen = SeenPositions()
    assert [position for position in log if seen.is_new(position)] == outputs
    assert not any(seen.is_new(position) for position in log)


@given(outputs, st.data())
def test_a_restart_continues_from_what_was_committed(outputs: list[SourcePosition], data: st.DataObject):
    committed = data.draw(st.integers(0, len(outputs)), label="committed")
    before = SeenPositions()
    assert all(before.is_new(position) for position in outputs[:committed])
    after = SeenPositions(str(before.last))
    assert [position for position in outputs if after.is_new(position)] == outputs[committed:]
