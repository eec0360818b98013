"""Decodes every record that a broker can hold, also where aiokafka's decoder gives up.

aiokafka raises in its fetcher at a header name that is not UTF-8, and unpacks a batch whole, however large it becomes.
One such record would stop every reader at its place in the log, after each start again. Here it is handed on with the
header ``undecodable``, which names the fault; its overlong parts are cut. Other records of its batch are handed on
unchanged.
"""

import hashlib
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
import structlog
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from topics.headers import CUT, UNDECODABLE
from tracker.kafka.unpacking import BrokenPackingError, unpack

log = structlog.get_logger()

#: A batch that unpacks to more is decoded record by record, without ever being in memory whole.
UNPACKED_MAX_BYTES: Final = 32 * 1_048_576
#: Of a batch that unpacks to more than this, the rest is not decoded: it takes a second to get so far, in which the
#: consumer's thread does nothing else.
DECODED_MAX_BYTES: Final = 256 * 1_048_576
#: Records of a batch that are not decoded are handed on one by one; where more are left, one stands for all of them.
LEFT_RECORDS_MAX: Final = 1_000
#: A longer key, value or header's value is cut to this where a batch is decoded record by record.
KEPT_PART_BYTES: Final = 65_536
#: Headers of one record that are kept there.
KEPT_HEADERS: Final = 100

#: Base offset, length, leader epoch, magic, CRC, attributes, last offset delta, first and last timestamp, producer id,
#: producer epoch, base sequence, number of records.
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_LENGTH: Final = struct.Struct(">qi")
_ATTRIBUTES: Final = struct.Struct(">h")
_ATTRIBUTES_AT: Final = struct.calcsize(">qiibI")
_CODEC_MASK: Final = 0x07
_LOG_APPEND_TIME_MASK: Final = 0x08
#: The first format that has record batches; older ones hold single messages, which brokers no longer write.
_BATCH_MAGIC: Final = 2
_MAX_VARINT_BYTES: Final = 10
_MAX_INT64: Final = 2**63 - 1


class DecodedRecord(NamedTuple):
    """One record, as aiokafka's own decoder has it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record with its place. aiokafka's ``ConsumerRecord`` takes twice the time and four times the memory."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class AnyRecords:
    """Stands in for aiokafka's ``MemoryRecords``: the batches of one fetched partition, each an ``AnyBatch``."""

    def __init__(self, raw: bytes) -> None:
        self._records: Any = MemoryRecords(raw)
        self._raw = memoryview(raw)
        self._at = 0

    def size_in_bytes(self) -> int:
        """Return how many bytes were fetched."""
        return int(self._records.size_in_bytes())

    def has_next(self) -> bool:
        """Return whether another whole batch was fetched."""
        return bool(self._records.has_next())

    def next_batch(self) -> Any:
        """Return the next batch."""
        batch = self._records.next_batch()
        _, length = _LENGTH.unpack_from(self._raw, self._at)
        end = self._at + _LENGTH.size + length
        raw, self._at = self._raw[self._at : end], end
        return AnyBatch(batch, raw) if batch.magic >= _BATCH_MAGIC else batch


class AnyBatch:
    """One record batch. All but its records is aiokafka's."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        """Yield every record; those that aiokafka can't decode are decoded here. Costs 0.1 us a record more."""
        decoded = 0
        try:
            for record in self._unpacked():
                yield record
                decoded += 1
        except Exception as error:  # noqa: BLE001 - no error of aiokafka's may stop us
            log.debug("a record batch is decoded record by record", offset=self.base_offset, error=repr(error))
        else:
            return
        yield from islice(decode_one_by_one(self._raw), decoded, None)

    def _unpacked(self) -> Any:
        """Return the batch as aiokafka decodes it without unpacking anything.

        Raises:
            BrokenPackingError: it can't be unpacked, or becomes too large.
        """
        if not self._batch.compression_type:
            return self._batch
        pieces, size_bytes = [], 0
        for piece in unpack(self._batch.compression_type, self._raw[_HEADER.size :]):
            pieces.append(piece)
            size_bytes += len(piece)
            if size_bytes > UNPACKED_MAX_BYTES:
                raise BrokenPackingError(f"more than {UNPACKED_MAX_BYTES} bytes come out")
        header = bytearray(self._raw[: _HEADER.size])
        _ATTRIBUTES.pack_into(header, _ATTRIBUTES_AT, self._batch.attributes & ~_CODEC_MASK)
        return DefaultRecordBatch(b"".join((header, *pieces)))


def decode_one_by_one(raw: memoryview) -> Iterator[DecodedRecord]:
    """Yield the records of a batch, whatever bytes it has, in bounded memory. About 10 us a record.

    If the batch itself is broken or too large, each of its remaining records has nothing but the header
    ``undecodable``; very many are replaced by one.
    """
    header = _HEADER.unpack_from(raw)
    base_offset, attributes, last_delta, first_ms, last_ms, count = (*header[:1], *header[5:9], header[12])
    is_log_time = bool(attributes & _LOG_APPEND_TIME_MASK)
    stream = _Stream(unpack(attributes & _CODEC_MASK, raw[_HEADER.size :]))
    next_offset = base_offset
    for _ in range(count):
        try:
            offset_delta, time_delta, record = _decode(stream)
        except (BrokenPackingError, EOFError) as error:
            for offset, words in _left(range(next_offset, base_offset + last_delta + 1)):
                reason = f"{words} can't be decoded: {error}".encode()
                yield DecodedRecord(offset, last_ms, int(is_log_time), None, None, [(UNDECODABLE, reason)])
            return
        offset = base_offset + offset_delta
        timestamp = last_ms if is_log_time else min(max(first_ms + time_delta, -1), _MAX_INT64)
        next_offset = offset + 1
        yield DecodedRecord(offset, timestamp, int(is_log_time), *record)


def _left(offsets: range) -> Iterator[tuple[int, str]]:
    """Yield placeholders for a batch's remaining records: each its offset, and the offsets that it stands for."""
    if len(offsets) > LEFT_RECORDS_MAX:
        yield offsets.start, f"offsets {offsets.start} to {offsets.stop - 1}"
    else:
        yield from ((offset, f"offset {offset}") for offset in offsets)


Parts = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def _decode(stream: "_Stream") -> tuple[int, int, Parts]:
    """Read one record: its offset and its time, each less the batch's first, then key, value and headers."""
    flaws = _Flaws()
    end = stream.varint() + stream.taken_bytes
    stream.take(1)  # attributes, of which there are none yet
    time_delta, offset_delta = stream.varint(), stream.varint()
    key = _part(stream, "key", flaws)
    value = _part(stream, "value", flaws)
    headers = _headers(stream, end, flaws)
    return offset_delta, time_delta, (key, value, headers + flaws.headers)


class _Flaws:
    """The faults of a record, as headers."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._cut: list[tuple[str, bytes | None]] = []

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        return [(UNDECODABLE, "; ".join(self._said).encode()), *self._cut] if self._said else []

    def say(self, what: str) -> None:
        self._said.append(what)

    def cut(self, part: str, size_bytes: int, digest: str) -> None:
        self.say(f"the {part} has {size_bytes} bytes, of which the first {KEPT_PART_BYTES} are kept")
        self._cut.append((CUT, f"{part}:{size_bytes}:{digest}".encode()))


def _headers(stream: "_Stream", end: int, flaws: _Flaws) -> list[tuple[str, bytes | None]]:
    count = stream.varint()
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(min(count, KEPT_HEADERS)):
        raw_name = _part(stream, "header name", flaws) or b""
        try:
            name = raw_name.decode()
        except UnicodeDecodeError:
            name = raw_name.decode(errors="backslashreplace")
            flaws.say(f"the header name {name!r} is not UTF-8")
        headers.append((name, _part(stream, "header value", flaws)))
    if count > KEPT_HEADERS:
        flaws.say(f"{count} headers, of which the first {KEPT_HEADERS} are kept")
        digest, begun = hashlib.sha256(), stream.taken_bytes
        stream.skip_to(end, digest.update)
        flaws.cut("other headers", end - begun, digest.hexdigest())
    return headers


def _part(stream: "_Stream", part: str, flaws: _Flaws) -> bytes | None:
    """Read a key, a value or a header's name or value, and keep so much of it as is kept."""
    size_bytes = stream.varint()
    if size_bytes < 0:
        return None
    kept = stream.take(min(size_bytes, KEPT_PART_BYTES))
    if size_bytes > KEPT_PART_BYTES:
        digest = hashlib.sha256(kept)
        stream.skip_to(stream.taken_bytes + size_bytes - KEPT_PART_BYTES, digest.update)
        flaws.cut(part, size_bytes, digest.hexdigest())
    return kept


class _Stream:
    """Bytes that come in pieces.

    Each method raises EOFError if they end too early, and BrokenPackingError if there are too many.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.taken_bytes = 0
        self._pieces = pieces
        self._piece = b""
        self._at = 0

    def take_some(self, most: int) -> bytes:
        """Return at least one byte and at most so many."""
        while self._at == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                raise EOFError("the batch ends too early")
            self._piece, self._at = piece, 0
        if self.taken_bytes > DECODED_MAX_BYTES:
            raise BrokenPackingError(f"more than {DECODED_MAX_BYTES} bytes come out")
        some = self._piece[self._at : self._at + most]
        self._at += len(some)
        self.taken_bytes += len(some)
        return some

    def skip_to(self, end: int, seen: Callable[[bytes], object] = lambda _: None) -> None:
        """Take all up to a place, and show ``seen`` each piece of it."""
        while self.taken_bytes < end:
            seen(self.take_some(end - self.taken_bytes))

    def take(self, count: int) -> bytes:
        """Return exactly so many bytes."""
        parts = []
        while count > 0:
            parts.append(some := self.take_some(count))
            count -= len(some)
        return b"".join(parts)

    def varint(self) -> int:
        """Return a number as Kafka writes it: seven bits a byte, the sign in the lowest bit."""
        raw = 0
        for place in range(_MAX_VARINT_BYTES):
            byte = self.take(1)[0]
            raw |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:  # noqa: PLR2004 - the bit that says that another byte follows
                return (raw >> 1) ^ -(raw & 1)
        raise BrokenPackingError("a number has more than 10 bytes")
