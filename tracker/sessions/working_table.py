"""The session table while a chunk is folded: the stored rows, covered by the rows that the chunk has changed."""

from collections.abc import Callable
from dataclasses import dataclass

from tracker.sessions.keys import row_key
from tracker.sessions.state import FORGOTTEN, SessionState


@dataclass(slots=True)
class At:
    """The record at hand: its offset, how many outputs it has given, and stream time."""

    offset: int = -1
    outputs: int = 0
    now_ms: int = 0


@dataclass(slots=True)
class Row:
    """A row of the table: the state, and the last source offset applied to it. None: no state is there.

    The fold changes it in place, so the row from before the chunk is lost.
    """

    key: bytes
    state: SessionState | None = None
    offset: int = -1
    is_changed: bool = False

    @property
    def session(self) -> SessionState | None:
        """The session in it; a forgotten one counts as unknown."""
        state = self.state
        return None if state is None or state.close_reason == FORGOTTEN else state


#: Looks a row up in the table; None if it is not there.
Lookup = Callable[[bytes], Row | None]


class WorkingTable:
    """Finds the rows of records, and collects the rows that change."""

    __slots__ = ("_at", "_changed", "_has_homes_only", "_lookup")

    def __init__(self, at: At, lookup: Lookup, *, has_homes_only: bool) -> None:
        self._at = at
        self._lookup = lookup
        #: All workspaces of a key share one row, as in 0.1.0.
        self._has_homes_only = has_homes_only
        self._changed: dict[bytes, Row] = {}

    def begin_chunk(self, changed: dict[bytes, Row]) -> None:
        """Collect the rows that change in this mapping from now on."""
        for row in self._changed.values():
            row.is_changed = False
        self._changed = changed

    def find(self, key: bytes, workspace_id: str) -> Row:
        """Return the row of a record's session. One look-up, unless another workspace than home is named.

        After a run that did not get to the chunk's end, home's row may be newer than the record, and does not tell
        whose it was when the record came. But then the record has been applied: homes are written after all others.
        """
        home = self.stored(key)
        if not workspace_id or self._has_homes_only:
            return home
        session = home.session
        if (session is not None and session.workspace_id == workspace_id) or self.has_had_it(home):
            return home
        other = self.stored(row_key(key, workspace_id))
        # A session that is forgotten at the record itself was due before it, and has not had it.
        is_forgotten = other.session is None and other.offset <= self._at.offset
        return home if is_forgotten and (session is None or not session.workspace_id) else other

    def stored(self, key: bytes) -> Row:
        """Return a row, be it one without a state."""
        return self._changed.get(key) or self._lookup(key) or Row(key)

    def has_had_it(self, row: Row) -> bool:
        """Return whether the record at hand has been applied to a row, in a run that did not get to the chunk's end."""
        return row.offset >= self._at.offset and not row.is_changed

    def put(self, row: Row, state: SessionState | None) -> None:
        """Note that the record at hand has changed a row; None: nothing is left of it."""
        row.state, row.offset, row.is_changed = state, self._at.offset, True
        self._changed[row.key] = row
