"""The session table while a chunk is folded: what is stored, and over it what the chunk has changed so far."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tracker.sessions.keys import row_key
from tracker.sessions.outputs import ChangedState
from tracker.sessions.state import FORGOTTEN, SessionState


@dataclass(slots=True)
class StoredState:
    """A session as the table has it: the state, and the last source offset applied to it."""

    offset: int
    state: SessionState


#: Looks a row up in the table; None if it is not known.
Lookup = Callable[[bytes], StoredState | None]


class Row(NamedTuple):
    """The row of the table that a record belongs to, and the session in it, if there is one."""

    key: bytes
    state: SessionState | None
    #: Whether the session has had this record already.
    has_had_it: bool


class WorkingTable:
    """Finds the rows of records, and notes what becomes of them."""

    __slots__ = ("_changed", "_has_homes_only", "_lookup", "_offset")

    def __init__(self, lookup: Lookup, *, has_homes_only: bool) -> None:
        self._lookup = lookup
        #: All workspaces of a key share one row, as in 0.1.0.
        self._has_homes_only = has_homes_only
        self._changed: dict[bytes, ChangedState] = {}
        self._offset = -1

    def begin_chunk(self, changed: dict[bytes, ChangedState]) -> None:
        """Note what changes here."""
        self._changed = changed

    def begin_record(self, offset: int) -> None:
        """Go on to the record at this offset."""
        self._offset = offset

    def find(self, key: bytes, workspace_id: str) -> Row:
        """Return the row of a record's session. One look-up, unless another workspace than home is named."""
        home = self.held(key)
        if (
            not workspace_id
            or (home.state is not None and home.state.workspace_id == workspace_id)
            or self._has_homes_only
        ):
            return home
        other = self.held(row_key(key, workspace_id))
        if other.state is None and (home.state is None or not home.state.workspace_id):
            return home
        return other

    def held(self, key: bytes) -> Row:
        """Return a row; what is forgotten counts as unknown."""
        row = self.stored(key)
        return row._replace(state=None) if row.state is not None and row.state.close_reason == FORGOTTEN else row

    def stored(self, key: bytes) -> Row:
        """Return a row as it stands in the table, with what is forgotten."""
        changed = self._changed.get(key)
        if changed is not None:
            return Row(key, changed.state, has_had_it=False)
        stored = self._lookup(key)
        if stored is None:
            return Row(key, None, has_had_it=False)
        return Row(key, stored.state, stored.offset >= self._offset)

    def put(self, key: bytes, state: SessionState | None) -> None:
        """Note that the record at hand has changed a session; None: nothing is left of it."""
        self._changed[key] = ChangedState(self._offset, state)
