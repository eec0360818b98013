"""Merging the changelog: the highest source offset wins, whoever reads what, how often, in which pieces."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tracker.sessions.state import OFFSET_BYTES
from tracker.table.store import Row, SessionStore


def row(key: bytes, offset: int) -> Row:
    """A version of a key; equal offsets are equal versions."""
    return key, offset, offset.to_bytes(OFFSET_BYTES, "big") + b"state"


ROWS = st.lists(st.builds(row, st.sampled_from([b"a", b"b"]), st.integers(min_value=0, max_value=9)), max_size=12)


def merged(*pieces: list[Row]) -> dict[bytes, bytes]:
    with TemporaryDirectory() as directory:
        store = SessionStore(Path(directory) / "partition-0")
        for position, piece in enumerate(pieces):
            store.merge(piece, position)
        states = dict(store.states())
        store.close()
        return states


@settings(max_examples=40, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_order_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    assert merged(shuffled) == merged(rows)


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(min_value=0, max_value=12))
def test_pieces_and_repetitions_do_not_matter(rows, cut):
    assert merged(rows[:cut], rows[cut:], rows, rows[:cut]) == merged(rows)
