"""One partition of a replay in virtual time: the real loop, target, store and fold, on the simulator's doubles."""

from collections.abc import Callable, Coroutine
from typing import Any

from tests.reference.compare import differences
from tests.reference.model import Model
from tests.sessions_log import Log
from tests.simulation.broker import PREFIX, SOURCE_TOPIC, Broker
from tests.simulation.producer import Producer
from tests.simulation.reader import Reader
from tests.virtual_time import new_environment, run_virtually
from topics.catalog import DEAD_LETTERS, SEQUENCED, SESSIONS
from tracker.replay import partition as partition_module
from tracker.replay.partition import PartitionReplay, Progress
from tracker.replay.plan import PartitionPlan
from tracker.replay.targets import Target, TopicTarget
from tracker.sessions.forwards import ForwardSeal
from tracker.sessions.rules import Rules
from tracker.table.store import SessionStore

BATCH_BYTES = 2_000
CHUNK_RECORDS = 5


class OneReplay:
    """``log`` writes the source; ``run_once`` replays it into topics, or another target, until it is stopped."""

    def __init__(self, **rules: Any) -> None:
        self.env = new_environment()
        self.broker = Broker(1)
        self.log = Log(Rules(**rules), number=0)
        self.told: list[Progress] = []
        self._appended = 0

    def run(self, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        chunk_records = partition_module.CHUNK_MAX_RECORDS
        partition_module.CHUNK_MAX_RECORDS = CHUNK_RECORDS
        try:
            run_virtually(self.env, test)
        finally:
            partition_module.CHUNK_MAX_RECORDS = chunk_records

    def reader(self) -> Reader:
        return Reader(self.env, self.broker)

    def topic_target(self) -> TopicTarget:
        producer = Producer(self.env, self.broker, BATCH_BYTES)
        return TopicTarget(producer, self.reader, PREFIX, 0)  # type: ignore[arg-type]

    def append_log(self) -> None:
        """Bring the source topic up to what the log holds."""
        for record in self.log.records[self._appended :]:
            content = (record.key, record.value, record.headers)
            self.broker.log(SOURCE_TOPIC, 0).append([content], record.timestamp)
        self._appended = len(self.log.records)

    async def run_once(
        self,
        store: SessionStore,
        *,
        target: Target | None = None,
        stop_after_chunks: int | None = None,
        workspace: str = "",
        **plan: int,
    ) -> bool:
        self.append_log()
        wanted = {"begin": 0, "emit_from": 0, "until": len(self.log.records), **plan}
        chunks = len(self.told)
        replay = PartitionReplay(
            plan=PartitionPlan(partition=0, **wanted),
            topic=SOURCE_TOPIC,
            partition_of=lambda _: 0,
            seal=ForwardSeal(),
            skips={},
            rules=self.log.rules,
            workspace=workspace,
            store=store,
            target=target or self.topic_target(),
            report=self.told.append,
        )

        def stopping() -> bool:
            return stop_after_chunks is not None and len(self.told) - chunks >= stop_after_chunks

        async with self.reader() as reader:
            return await replay.run(reader, stopping)

    @property
    def outputs(self) -> dict[str, list[Any]]:
        topics = (SEQUENCED, SESSIONS, DEAD_LETTERS)
        return {topic.suffix: self.broker.log(topic.name(PREFIX), 0).records for topic in topics}

    def differences(self) -> list[str]:
        """Where the outputs are not what the written rules say."""
        return differences(Model(self.log.rules).take(self.log.records), self.outputs)
