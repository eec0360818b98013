"""Holding a replay's outputs against the live ones, position by position, byte by byte. Pure.

Both sides come in source position order. The live side has had its repeats dropped, as every consumer does.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from topics.headers import SourcePosition, read_position
from tracker.sessions.outputs import Output

Kind = Literal["differs", "missing", "extra"]


class Placed(NamedTuple):
    """An output at its source position."""

    position: SourcePosition
    key: bytes | None
    value: bytes | None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One place where live and replay disagree. ``missing``: live has nothing there. ``extra``: only live has it."""

    kind: Kind
    topic: str
    partition: int
    source_offset: int
    source_index: int
    live: str
    replayed: str


class Comparison(msgspec.Struct, kw_only=True):
    """What the comparison of one output partition has come to."""

    topic: str
    partition: int
    identical: int = 0
    #: Replayed, but from before the first output that live still has (its retention is shorter than the source's).
    before_retention: int = 0
    differences: int = 0
    first: Difference | None = None

    def hold(self, replayed: Iterable[Placed], live: Iterable[Placed], *, live_begins: SourcePosition | None) -> None:
        """Go through both sides of the same stretch of source positions. About 1 us an output."""
        left = {placed.position: placed for placed in live}
        for placed in replayed:
            found = left.pop(placed.position, None)
            if found == placed:
                self.identical += 1
            elif found is not None:
                self._note("differs", found, placed)
            elif live_begins is not None and placed.position < live_begins:
                self.before_retention += 1
            else:
                self._note("missing", None, placed)
        for placed in left.values():
            self._note("extra", placed, None)

    def _note(self, kind: Kind, live: Placed | None, replayed: Placed | None) -> None:
        self.differences += 1
        position = (live or replayed or _NOWHERE).position
        if self.first is None or position < (self.first.source_offset, self.first.source_index):
            self.first = Difference(
                kind=kind,
                topic=self.topic,
                partition=self.partition,
                source_offset=position.offset,
                source_index=position.nth,
                live=_shown(live),
                replayed=_shown(replayed),
            )


_NOWHERE = Placed(SourcePosition(-1, -1), None, None)


def placed(outputs: Iterable[Output]) -> list[Placed]:
    """Return outputs with the position that their headers carry."""
    return [
        Placed(position, key, value)
        for key, value, headers in outputs
        if (position := read_position(headers)) is not None
    ]


def _shown(side: Placed | None) -> str:
    return "" if side is None else (side.value or b"").decode(errors="backslashreplace")
