"""Merging the changelog: the highest source offset wins, whoever reads what, how often, in which pieces."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.simulation.disk import Disk, MemoryDatabase
from tracker.sessions.layouts import LAYOUT, OFFSET_BYTES, offset_of
from tracker.table.store import Row, SessionStore


def row(key: bytes, offset: int) -> Row:
    """A version of a key; equal offsets are equal versions."""
    return key, offset, offset.to_bytes(OFFSET_BYTES, "big") + bytes([LAYOUT]) + b"state"


def removal(key: bytes, offset: int) -> Row:
    """The end of a key at this source offset."""
    return key, offset, None


ROWS = st.lists(st.builds(row, st.sampled_from([b"a", b"b"]), st.integers(min_value=0, max_value=9)), max_size=12)


def merged(*pieces: list[Row]) -> dict[bytes, bytes]:
    # In memory: it keeps the contract that RocksDB keeps, and leaves time for more examples.
    store = SessionStore(Path("partition-0"), lambda path: MemoryDatabase(path, Disk()))
    for position, piece in enumerate(pieces):
        store.merge(piece, position)
    return dict(store.states())


@given(ROWS, st.randoms(use_true_random=False))
def test_order_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert merged(shuffled) == merged(rows)


@given(ROWS, st.integers(min_value=0, max_value=12))
def test_pieces_and_repetitions_do_not_matter(rows, cut):
    assert merged(rows[:cut], rows[cut:], rows, rows[:cut]) == merged(rows)


@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.booleans()), max_size=12),
    st.lists(st.integers(min_value=0, max_value=12), max_size=3),
)
def test_a_log_with_removals_may_be_read_again_from_any_earlier_point(writes, goes_back_to):
    """A removal leaves no offset behind to compare with: here only the log's order counts."""
    log = [removal(key, offset) if is_removal else row(key, offset) for offset, (key, is_removal) in enumerate(writes)]
    last = {key: None if is_removal else row(key, offset)[2] for offset, (key, is_removal) in enumerate(writes)}
    again = [log[begin:] for begin in goes_back_to]
    assert merged(log, *again) == {key: value for key, value in last.items() if value is not None}


@given(ROWS, st.sampled_from([b"a", b"b"]), st.integers(min_value=0, max_value=9))
def test_a_removal_takes_only_what_is_not_newer(rows, key, offset):
    before = merged(rows)
    stands = key in before and offset_of(before[key]) > offset
    assert merged(rows, [removal(key, offset)]) == {
        other: value for other, value in before.items() if other != key or stands
    }
