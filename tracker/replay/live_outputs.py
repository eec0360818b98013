"""One partition of a live output topic, and holding a replay's outputs against it."""

from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from topics.headers import SOURCE_POSITION, Headers, SourcePosition, read_position
from tracker.kafka.log_reader import Run, read_range, whole_range
from tracker.replay.compare import Comparison, Placed, placed
from tracker.sessions.outputs import Output


class LiveOutputs:
    """One partition of a live output topic, each output once, taken in step with the replay."""

    def __init__(self, reader: AIOKafkaConsumer, tp: TopicPartition) -> None:
        self._reader = reader
        self._tp = tp
        self._runs: AsyncIterator[Run]
        self._run: Sequence[ConsumerRecord] = ()
        self._next = 0
        self._last = SourcePosition(-1, -1)
        #: The first position that live still has; None if it has nothing.
        self.begins: SourcePosition | None = None

    async def start(self) -> None:
        """Go to the start of the topic, and fix its end: later records are not compared."""
        self._runs = read_range(self._reader, self._tp, await whole_range(self._reader, self._tp))

    async def hold(self, comparison: Comparison, outputs: Sequence[Output], begin: int, end: int) -> None:
        """Compare the outputs of source offsets [begin, end) with the live ones; later calls are for later offsets."""
        equal = await self._pass_equal(outputs)
        comparison.identical += equal
        comparison.hold(placed(outputs[equal:]), await self._take(begin, end), live_begins=self.begins)

    async def _pass_equal(self, outputs: Sequence[Output]) -> int:
        """Go past the live outputs that are these, one by one, and return how many are.

        Bytes against bytes, positions unread: a tenth of what ``_take`` costs. An output's position is new, so what
        equals it is no repeat.
        """
        equal = 0
        while equal < len(outputs) and await self._ahead() is not None:
            passed = equal_at_start(outputs[equal:], self._run[self._next :])
            self._next += passed
            equal += passed
            if self._next < len(self._run):
                break
        if equal:
            self._last = read_position(outputs[equal - 1].headers) or self._last
        return equal

    async def _take(self, begin: int, end: int) -> list[Placed]:
        """Return the outputs of source offsets [begin, end), which lie before all that is taken later."""
        taken = []
        while (record := await self._ahead()) is not None:
            position = read_position(record.headers)
            if position is not None and position.offset >= end:
                break
            self._next += 1
            if position is None or position <= self._last:  # the sink's dead letters have none; repeats have been seen
                continue
            self._last = position
            if position.offset >= begin:
                taken.append(Placed(position, record.key, record.value))
        return taken

    async def _ahead(self) -> ConsumerRecord | None:
        while self._next == len(self._run):
            run = await anext(self._runs, None)
            if run is None:
                return None
            self._run, self._next = run.records, 0
            if self.begins is None:
                self.begins = next(filter(None, (read_position(record.headers) for record in run.records)), None)
        return self._run[self._next]


def equal_at_start(outputs: Sequence[Output], records: Sequence[ConsumerRecord]) -> int:
    """Return how many live records are the replay's outputs, from the first ones on. About 0.2 us each."""
    equal = 0
    for (key, value, headers), record in zip(outputs, records, strict=False):
        if record.value != value or record.key != key or not _same_place(record.headers, headers):
            break
        equal += 1
    return equal


def _same_place(live: Sequence[tuple[str, bytes]], replayed: Headers) -> bool:
    """Return whether two outputs have one position. It is the first header, so its bytes nearly always tell."""
    if live and replayed and live[0] == replayed[0] and live[0][0] == SOURCE_POSITION:
        return True
    return read_position(live) == read_position(replayed)
