"""Batches of whatever a broker takes: any key, value, headers, times, codec and size, good events between."""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.raw_batches import PACK, Raw, raw_batch
from tests.source_log import event_value
from topics import headers as ours
from tracker.kafka.clients import partition_for_key

SESSIONS = 40
RECORDS_IN_A_BATCH = (1, 2, 5, 30, 200)
#: A broker's limit for a batch, packed; a little less than that, and far more unpacked.
NEAR_LIMIT_BYTES = 900_000
BOMB_BYTES = (5_000_000, 40_000_000, 300_000_000)
#: Seldom, because each takes the broker and the worker a second.
BOMB_SHARE = 0.002
NEAR_LIMIT_SHARE = 0.01
BAD_HEADER_NAME_SHARE = 0.15
OUR_HEADERS = tuple(value for name, value in vars(ours).items() if name.isupper() and isinstance(value, str))
EXTREME_MS = (0, -1, 1, 2**31, 4_102_444_800_000, 2**53, 2**62, -(2**40))
MARK = "spoil-me"


class ArbitraryBatch(NamedTuple):
    """A batch, where it goes, and how many records it has."""

    partition: int
    raw: bytes
    records: int


class Arbitrary:
    """Makes batches from a seed, the same ones again."""

    def __init__(self, seed: int, partitions: int) -> None:
        self._rng = random.Random(seed)
        self._partitions = partitions
        self._events = 0

    def batches(self, records: int) -> Iterator[ArbitraryBatch]:
        """Yield batches of so many records in all."""
        made = 0
        while made < records:
            batch = self.batch()
            made += batch.records
            yield batch

    def batch(self) -> ArbitraryBatch:
        """Return the next batch."""
        rng = self._rng
        partition = rng.randrange(self._partitions)
        kind = rng.random()
        codec = rng.choice(list(PACK))
        if (kind := kind - BOMB_SHARE) < 0:
            part = bytes(rng.choice(BOMB_BYTES))
            records = [self._good(partition), self._with(rng.choice("kvh"), part), self._good(partition)]
            return self._built(partition, records, rng.choice((1, 4)))
        if (kind := kind - NEAR_LIMIT_SHARE) < 0:
            part = rng.randbytes(NEAR_LIMIT_BYTES)
            return self._built(partition, [self._with(rng.choice("kvh"), part), self._good(partition)], codec)
        count = rng.choice(RECORDS_IN_A_BATCH)
        odd_share = rng.choice((0.0, 0.2, 1.0))
        records = [self._odd() if rng.random() < odd_share else self._good(partition) for _ in range(count)]
        return self._built(partition, records, codec)

    def _built(self, partition: int, records: list[Raw], codec: int) -> ArbitraryBatch:
        rng = self._rng
        if rng.random() < BAD_HEADER_NAME_SHARE:
            at = rng.randrange(len(records))
            key, value, headers = records[at]
            records[at] = key, value, [*headers, (MARK, b"x")]
        spoil: Callable[[bytes], bytes] = lambda plain: plain.replace(MARK.encode(), b"\xff\xfe\x80poil-")  # noqa: E731
        times = {"first_ms": rng.choice(EXTREME_MS), "step_ms": rng.choice((0, 1, -1, 1_000))}
        return ArbitraryBatch(partition, raw_batch(records, codec=codec, spoil=spoil, **times), len(records))

    def _good(self, partition: int) -> Raw:
        """An event of a session, mostly in the partition of its key."""
        rng = self._rng
        keys = [f"session-{number}" for number in range(SESSIONS)]
        here = [key for key in keys if partition_for_key(key.encode(), self._partitions) == partition]
        key = rng.choice(here if rng.random() < 0.95 else keys)
        self._events += 1
        event_id = f"event-{self._events if rng.random() < 0.95 else rng.randrange(self._events)}"
        headers = [(ours.PRODUCER_CLIENT_ID, b"good")] if rng.random() < 0.2 else []
        return key.encode(), event_value(key, event_id), list(headers)

    def _odd(self) -> Raw:
        """A record of whatever bytes, or an event with one thing changed."""
        rng = self._rng
        good_key, good_value, _ = self._good(0)
        key = rng.choice((None, b"", rng.randbytes(rng.choice((1, 16, 300))), b"\xff\xfe", b"\x00watermark", good_key))
        mutated = bytearray(good_value or b"")
        mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        value = rng.choice((
            None, b"", b"{}", b"[]", b"null", b"\x00", b"[" * 5_000, b'{"type":"tick"}',
            rng.randbytes(rng.choice((1, 100, 70_000))),
            bytes(mutated), good_value, b'{"type":"expire","session_id":"session-1"}', b'{"type":"event"}',
        ))  # fmt: skip
        return key, value, [self._header() for _ in range(rng.choice((0, 0, 1, 3, 150)))]

    def _header(self) -> tuple[str, bytes | None]:
        rng = self._rng
        name = rng.choice((*OUR_HEADERS, "", "x", "\u00e4", "\x00", "n" * 300))
        value = rng.choice((
            None, b"", b"1", b"-1", b"0:99999999999999999999999999", b"0:9223372036854775807", b"1:2:3",
            b"%d:%d" % (rng.randrange(2**31), rng.randrange(2**31)), rng.randbytes(rng.choice((1, 16, 55, 3_000))),
        ))  # fmt: skip
        return name, value

    def _with(self, part: str, raw: bytes) -> Raw:
        """A record one part of which is very large: its key, its value or a header."""
        if part == "k":
            return raw, b"v", []
        if part == "v":
            return b"session-1", raw, []
        return b"session-1", b"v", [("large", raw)]
