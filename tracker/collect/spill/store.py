"""The spill on disk: a queue in a RocksDB. All methods are synchronous, for one thread at a time.

Keys are consecutive numbers, so the order of the keys is the order of the queue. A write returns when it is on disk
(fsync). Records are read by key, never with RocksDB's iterator: that one ends without an error at a damaged block.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec
import structlog
from rocksdict import DBRecoveryMode, Options, Rdict, WriteBatch, WriteOptions

from tracker import clock
from tracker.errors import ConfigurationError

#: RocksDB keeps up to two of these in memory; a full one becomes a file.
WRITE_BUFFER_BYTES: Final = 16 * 1024 * 1024
#: Keys that are read with one call.
READ_KEYS: Final = 1_000
#: Between two attempts to open the database again after the disk has refused.
REOPEN_INTERVAL_MS: Final = 1_000

_SEQUENCE_BYTES: Final = 8

log = structlog.get_logger()


class SpilledRecord(NamedTuple):
    """A record that waits: its topic, when it was accepted, key and value."""

    topic: str
    accepted_ms: int
    key: bytes
    value: bytes

    @property
    def size_bytes(self) -> int:
        """Its size, as it counts for the spill's limit."""
        return _SEQUENCE_BYTES + len(self.topic) + len(self.key) + len(self.value)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[str, int, bytes, bytes]).decode


class SpillStore:
    """A queue of records in one directory, locked while it is open.

    ``head`` is the first number that may have a record, ``tail`` the number of the next one. ``records`` and
    ``size_bytes`` count the records that are in the queue.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._synced = WriteOptions()
        self._synced.sync = True
        #: When the disk has refused the last write; None if it has not.
        self.refused_ms: int | None = None
        self.head = self.tail = self.records = self.size_bytes = 0
        #: No record below this number is left on disk. It is lower than ``head`` while the disk refuses deletions.
        self._kept_head = 0
        self._open()

    def append(self, records: Sequence[SpilledRecord]) -> int:
        """Write records behind the others, in one synced batch, and return the first one's number.

        Raises:
            OSError: the disk refuses. The records may or may not be there when the database is opened again.
        """
        self._mend()
        batch = WriteBatch(raw_mode=True)
        first = self.tail
        for number, record in enumerate(records, first):
            batch.put(_key(number), _encode(record))
        self._write(batch)
        self.tail += len(records)
        self.records += len(records)
        self.size_bytes += sum(record.size_bytes for record in records)
        return first

    def read(self, start: int) -> Iterator[tuple[int, SpilledRecord]]:
        """Yield the records from a number on, in order. Those that can't be read are left out and logged."""
        for low in range(start, self.tail, READ_KEYS):
            yield from self._read(range(low, min(low + READ_KEYS, self.tail)))

    def delete(self, begin: int, end: int, *, records: int, size_bytes: int) -> None:
        """Delete the records from ``begin`` up to, not including, ``end``; the caller knows how many there are.

        Raises:
            OSError: the disk refuses. They are left out until the process ends; the next one will find them again.
        """
        self.records -= records
        self.size_bytes -= size_bytes
        if begin <= self.head:
            self.head = max(self.head, end)
            begin = self._kept_head  # with the records that could not be deleted before
        self._mend()
        batch = WriteBatch(raw_mode=True)
        batch.delete_range(_key(begin), _key(end))
        self._write(batch)
        if begin <= self._kept_head:
            self._kept_head = max(self._kept_head, end)

    def reclaim(self) -> None:
        """Give the disk space of deleted records back now, rather than at RocksDB's next compaction."""
        try:
            self._db.compact_range(None, None)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            log.warning("the spill's disk space could not be reclaimed", path=str(self.path), error=str(error))

    def close(self) -> None:
        """Close the database and release its lock. The records stay on disk."""
        self._close_database()

    def _close_database(self) -> None:
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            # It could not move its log into a table. The log is on disk; the next process reads it.
            log.warning("the spill could not be closed", path=str(self.path), error=str(error))

    def _open(self, *, at_least: int = 0) -> None:
        self._db = self._open_database()
        lowest, self.tail = self._bounds()
        self.head = max(lowest, at_least)
        self.records = self.size_bytes = 0
        for number, record in self.read(self.head):
            if not self.records:
                self.head = number
            self.records += 1
            self.size_bytes += record.size_bytes
        if not self.records:
            self.head = self.tail = max(self.head, self.tail)
        self._kept_head = min(lowest, self.head)

    def _open_database(self) -> Rdict:
        """Open the database; where files are damaged, keep the records that can be read.

        RocksDB's default would stop without an error at the first damaged record of its log. A torn record at the very
        end is no damage: its write had not returned, so no client was told that the record is safe.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return self._rdict(DBRecoveryMode.tolerate_corrupted_tail_records)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            if "lock" in str(error).lower():
                raise ConfigurationError(
                    f"another collector uses {self.path}: give each a TRACKER_DATA_DIR of its own"
                ) from None
            if isinstance(error, OSError) or _is_refusal(error):
                raise ConfigurationError(
                    f"can't keep the spill in {self.path} ({error}): TRACKER_DATA_DIR has to be writable"
                ) from None
            log.error(
                "the spill is damaged; keeping the records that can be read", path=str(self.path), error=str(error)
            )
        try:
            return self._rdict(DBRecoveryMode.skip_any_corrupted_record)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            log.error("the spill is damaged; rebuilding its index", path=str(self.path), error=str(error))
        try:
            Rdict.repair(str(self.path), _options(DBRecoveryMode.skip_any_corrupted_record))
            return self._rdict(DBRecoveryMode.skip_any_corrupted_record)
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            aside = self.path.with_name(f"{self.path.name}.damaged-{clock.now_ms()}")
            shutil.move(self.path, aside)
            log.error("the spill can't be read; starting with an empty one", moved_to=str(aside), error=str(error))
            return self._rdict(DBRecoveryMode.tolerate_corrupted_tail_records)

    def _rdict(self, mode: Callable[[], Any]) -> Rdict:
        return Rdict(str(self.path), _options(mode))

    def _bounds(self) -> tuple[int, int]:
        """Return the lowest number in any file, and one more than the highest. Deleted records may be among them.

        Opening the database has moved its log into files.
        """
        files = [file for file in self._db.live_files() if file["start_key"] is not None]
        if not files:
            return 0, 0
        lows = [int.from_bytes(file["start_key"][:_SEQUENCE_BYTES]) for file in files]
        highs = [int.from_bytes(file["end_key"][:_SEQUENCE_BYTES]) for file in files]
        return min(lows), max(highs) + 1

    def _read(self, numbers: range) -> Iterator[tuple[int, SpilledRecord]]:
        keys: list[Any] = [_key(number) for number in numbers]
        try:
            found = cast("Sequence[bytes | None]", self._db.get(keys))
        except Exception as error:  # noqa: BLE001 - rocksdict raises nothing narrower
            found = self._read_one_by_one(keys, error)
        for number, value in zip(numbers, found, strict=True):
            if value is not None:
                yield number, SpilledRecord(*_decode(value))

    def _read_one_by_one(self, keys: list[Any], error: Exception) -> Sequence[bytes | None]:
        found: list[bytes | None] = []
        unreadable = 0
        for key in keys:
            try:
                found.append(self._db.get(key))
            except Exception:  # noqa: BLE001 - as above
                unreadable += 1
                found.append(None)
        log.error("records of the spill can't be read", path=str(self.path), records=unreadable, error=str(error))
        return found

    def _mend(self) -> None:
        """After the disk has refused, open the database again now and then: RocksDB itself would refuse for ever."""
        if self.refused_ms is None:
            return
        if clock.now_ms() - self.refused_ms < REOPEN_INTERVAL_MS:
            raise OSError("the disk has refused a write less than a second ago")
        self._reopen()

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch, write_opt=self._synced)
        except Exception as error:
            self.refused_ms = clock.now_ms()
            log.error("the spill can't be written", path=str(self.path), error=str(error))
            raise OSError(str(error)) from error

    def _reopen(self) -> None:
        head, tail = self.head, self.tail
        try:
            self._close_database()
            self._open(at_least=head)
        except ConfigurationError as error:
            self.refused_ms = clock.now_ms()
            raise OSError(str(error)) from error
        # A number is used once while the process lives: a caller may still want to delete by it.
        self.tail = max(self.tail, tail)
        self.refused_ms = None
        log.warning("the spill is open again", path=str(self.path), records=self.records)


def _options(mode: Callable[[], Any]) -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - RocksDB's name and signature
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_keep_log_file_num(2)
    options.set_wal_recovery_mode(mode())
    return options


def _key(number: int) -> bytes:
    return number.to_bytes(_SEQUENCE_BYTES)


def _is_refusal(error: Exception) -> bool:
    """Whether the operating system refuses. The files are not damaged then."""
    text = str(error)
    return any(words in text for words in ("Permission denied", "Read-only file system", "No space left", "Not a dir"))
