"""The local copy of one partition's session table: a RocksDB that never holds what the changelog doesn't.

One database per partition. Rows are session key -> encoded state, and the watermark under its own key, exactly as in
the changelog. One more row is the position: the next changelog offset to read. Every write is one atomic batch.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import structlog

from tracker import clock
from tracker.errors import StateDamagedError
from tracker.sessions.keys import META_PREFIX, is_page
from tracker.sessions.layouts import (
    LAYOUT,
    OFFSET_BYTES,
    READABLE,
    USAGE_KEY,
    WATERMARK_KEY,
    decode_usage,
    decode_watermark,
    offset_of,
    require_readable,
    wins,
)
from tracker.sessions.state import UsageMark, Watermark
from tracker.table.database import Database, RocksDatabase

log = structlog.get_logger()

_POSITION_KEY: Final = META_PREFIX + b"position"

#: Kafka forgets that a key was removed after a day (delete.retention.ms): a store that was away longer could hold on
#: to what nobody tells it is gone.
MAX_AWAY_MS: Final = 20 * 3_600_000

#: One version of a row as the changelog has it: key, source offset, and the encoded state (None: it is gone).
Row = tuple[bytes, int, bytes | None]


class Position(msgspec.Struct, array_like=True):
    """How far the changelog is contained in the store, in which layout, whose changelog it is, and when it was read."""

    next_offset: int
    layout: int = LAYOUT
    cluster_id: str = ""
    written_ms: int = 0
    #: Keys whose true version has to be written again: a worker that is killed before it did must not forget them.
    overwritten: list[bytes] = msgspec.field(default_factory=list)
    #: Tells the changelog from another topic of the same name; empty: not known.
    topic_id: str = ""


class SessionStore:
    """RocksDB of one partition. All methods are synchronous and short: a chunk's worth of reads or one batch.

    Any of them may raise StateDamagedError, after which only ``clear`` helps, or DiskFullError: then ``reopen`` does.
    """

    def __init__(
        self,
        path: Path,
        open_database: Callable[[Path], Database] = RocksDatabase,
        *,
        cluster_id: str = "",
        topic_id: str = "",
        now_ms: Callable[[], int] = clock.now_ms,
    ) -> None:
        """Open the store of one partition of a cluster; a store that does not match them is emptied."""
        self._path = path
        self._open_database = open_database
        self._cluster_id = cluster_id
        self._topic_id = topic_id
        self._now_ms = now_ms
        self._db = open_database(path)
        #: Keys whose last version in the changelog is a stale one: their true version has to be written again, or
        #: compaction would leave the stale one alone.
        self.overwritten: set[bytes] = set()
        self.position = self._read_position()

    def _read_position(self) -> int:
        try:
            raw = self._db.get(_POSITION_KEY)
            if raw is None:
                return 0
            position = msgspec.msgpack.decode(raw, type=Position)
            misfit = self._misfit(position)
        except StateDamagedError as error:
            misfit = f"is damaged ({error})"
        if misfit is not None:
            log.warning("local state is rebuilt from the changelog", why=f"it {misfit}", path=self._path.name)
            self.clear()
            return 0
        self.overwritten = set(position.overwritten)
        return position.next_offset

    def _misfit(self, position: Position) -> str | None:
        """Return why the store's rows are not from our present changelog, or None if they are."""
        if position.layout not in READABLE:
            return f"has another layout ({position.layout})"
        if position.cluster_id != self._cluster_id:
            return f"is of another cluster ({position.cluster_id}, not {self._cluster_id})"
        if position.topic_id and self._topic_id and position.topic_id != self._topic_id:
            return "is of a changelog that was deleted"
        away_ms = self._now_ms() - position.written_ms
        if away_ms > MAX_AWAY_MS:
            return f"was away for {away_ms // 3_600_000} hours, which is too long"
        return None

    def clear(self) -> None:
        """Forget everything: the next recovery begins at the start of the changelog."""
        self._db.destroy()
        self._db = self._open_database(self._path)
        self.overwritten.clear()
        self.position = 0

    def reopen(self) -> None:
        """Close the database and open it again: after a full disk, RocksDB refuses all writes until then.

        Raises:
            DiskFullError: it is still full.
        """
        self._db.close()
        self._db = self._open_database(self._path)
        self.position = self._read_position()

    def close(self) -> None:
        """Close the database; all that was written stays."""
        self._db.close()

    def get(self, key: bytes) -> bytes | None:
        """Return the encoded state of a session, if its key is known. A few us."""
        return self._db.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the encoded values of several keys, in their order."""
        return self._db.get_many(keys)

    def watermark(self) -> tuple[int, Watermark]:
        """Return W, the last source offset folded (-1: none), and the mark that was stored together with it."""
        raw = self._db.get(WATERMARK_KEY)
        if raw is None:
            return -1, Watermark(stream_time_ms=0, layout=min(READABLE))
        return offset_of(raw), decode_watermark(raw)

    def usage(self) -> tuple[int, UsageMark]:
        """Return the last source offset counted (-1: none), and the counts that are not put out yet."""
        raw = self._db.get(USAGE_KEY)
        return (-1, UsageMark()) if raw is None else (offset_of(raw), decode_usage(raw))

    def states(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every session's key and encoded state."""
        for key, value in self._db.items():
            if not key.startswith(META_PREFIX):
                yield key, value

    def page_keys(self) -> Iterator[bytes]:
        """Yield the keys of all pages of event ids. They come first in the store, so this costs nothing without any."""
        for row in self._db.items():
            key = row[0]
            if is_page(key):
                yield key
            elif not key.startswith(META_PREFIX):
                return

    def remove(self, keys: Sequence[bytes]) -> None:
        """Remove rows that nothing refers to; the changelog is told with the next checkpoint."""
        self.overwritten.update(keys)
        self._write(dict.fromkeys(keys), self.position)

    def write(self, rows: Iterable[Row], position: int) -> None:
        """Put rows that are certainly newer than the stored ones: those of the partition's only writer."""
        self._write({key: value for key, _, value in rows}, position)

    def merge(self, rows: Iterable[Row], position: int) -> list[bytes]:
        """Put the rows that win over the stored ones: highest source offset, not last write. Return their keys."""
        newest: dict[bytes, tuple[int, bytes | None]] = {}
        for key, offset, value in rows:
            if value is not None and not is_page(key):
                require_readable(value)
            if key not in newest or offset >= newest[key][0]:
                newest[key] = (offset, value)
                self.overwritten.discard(key)
            else:
                self.overwritten.add(key)
        keys = list(newest)
        winners: dict[bytes, bytes | None] = {}
        for key, holder in zip(keys, self._db.get_many(keys), strict=True):
            offset, value = newest[key]
            if wins(offset, holder):
                winners[key] = value
            else:
                self.overwritten.add(key)
        self._write(winners, position)
        return list(winners)

    def _write(self, rows: dict[bytes, bytes | None], position: int) -> None:
        mark = Position(position, cluster_id=self._cluster_id, written_ms=self._now_ms())
        mark.overwritten = sorted(self.overwritten)
        mark.topic_id = self._topic_id
        self._db.write({**rows, _POSITION_KEY: msgspec.msgpack.encode(mark)})
        self.position = position


def row_of(key: bytes, value: bytes | None, tombstone_offset: int) -> Row:
    """Make a row of a changelog record; a state carries its source offset itself, a tombstone in its headers."""
    return (key, tombstone_offset if value is None or len(value) < OFFSET_BYTES else offset_of(value), value)
