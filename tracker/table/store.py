"""The local copy of one partition's session table: a RocksDB that never holds what the changelog doesn't.

One database per partition. Rows are session key -> encoded state, and the watermark under its own key, exactly as in
the changelog; beside them lies the position: the next changelog offset to read. Every write is one atomic batch.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import structlog

from tracker.sessions.merge import wins
from tracker.sessions.state import LAYOUT, OFFSET_BYTES, WATERMARK_KEY, Watermark, decode_watermark, offset_of
from tracker.table.database import Database, RocksDatabase

log = structlog.get_logger()

#: No session key begins with a control character: rows under such a key are notes beside the states.
META_PREFIX: Final = b"\x00"
_POSITION_KEY: Final = META_PREFIX + b"position"

#: One version of a row as the changelog has it: key, source offset, and the encoded state (None: it is gone).
Row = tuple[bytes, int, bytes | None]


class Position(msgspec.Struct, array_like=True):
    """How far the changelog is contained in the store, and in which layout."""

    next_offset: int
    layout: int = LAYOUT


class SessionStore:
    """RocksDB of one partition. All methods are synchronous and short: a chunk's worth of reads or one batch."""

    def __init__(self, path: Path, open_database: Callable[[Path], Database] = RocksDatabase) -> None:
        self._path = path
        self._open_database = open_database
        self._db = open_database(path)
        self.position = self._read_position()

    def _read_position(self) -> int:
        raw = self._db.get(_POSITION_KEY)
        if raw is None:
            return 0
        position = msgspec.msgpack.decode(raw, type=Position)
        if position.layout != LAYOUT:
            log.warning("local state has another layout; it is rebuilt from the changelog", path=self._path.name)
            self.clear()
            return 0
        return position.next_offset

    def clear(self) -> None:
        """Forget everything: the next recovery begins at the start of the changelog."""
        self._db.destroy()
        self._db = self._open_database(self._path)
        self.position = 0

    def close(self) -> None:
        """Close the database; what was written stays."""
        self._db.close()

    def get(self, key: bytes) -> bytes | None:
        """Return the encoded state of a session, if its key is known. A few us."""
        return self._db.get(key)

    def watermark(self) -> tuple[int, Watermark]:
        """Return W, the last source offset folded (-1: none), and the stream time there."""
        raw = self._db.get(WATERMARK_KEY)
        return (offset_of(raw), decode_watermark(raw)) if raw is not None else (-1, Watermark(stream_time_ms=0))

    def states(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every session's key and encoded state."""
        for key, value in self._db.items():
            if not key.startswith(META_PREFIX):
                yield key, value

    def write(self, rows: Iterable[Row], position: int) -> None:
        """Put rows that are newer than what is held, for sure: those of the partition's only writer."""
        self._write({key: value for key, _, value in rows}, position)

    def merge(self, rows: Iterable[Row], position: int) -> list[bytes]:
        """Take the rows that win over what is held: highest source offset, not last write. Return their keys."""
        newest: dict[bytes, tuple[int, bytes | None]] = {}
        for key, offset, value in rows:
            if key not in newest or offset >= newest[key][0]:
                newest[key] = (offset, value)
        keys = list(newest)
        held = self._db.get_many(keys)
        winners = {key: newest[key][1] for key, holder in zip(keys, held, strict=True) if wins(newest[key][0], holder)}
        self._write(winners, position)
        return list(winners)

    def _write(self, rows: dict[bytes, bytes | None], position: int) -> None:
        self._db.write({**rows, _POSITION_KEY: msgspec.msgpack.encode(Position(position))})
        self.position = position


def row_of(key: bytes, value: bytes | None, tombstone_offset: int) -> Row:
    """Make a row of a changelog record; a state carries its source offset itself, a tombstone in its headers."""
    return (key, tombstone_offset if value is None or len(value) < OFFSET_BYTES else offset_of(value), value)
