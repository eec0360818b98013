"""A whole collector in this process, on a broker that misbehaves on command: from a parsed request to its response."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from multidict import CIMultiDict, CIMultiDictProxy

from tests.patience import PATIENCE_SECONDS
from tests.unit.collect.delivery.faulty_kafka import FaultyKafka
from tracker.collect.app import Collector
from tracker.collect.http.messages import Request, Response
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.settings import Settings

TRACK = "/api/v1/events/track"
SESSION = "/api/v1/events/session"
PIXEL = "/api/v1/events/pixel.gif"
#: A write key of a service, in workspace w1, and the headers that present it.
SERVICE = {"name": "service", "key": "secret-key-of-w1-0123"}
AS_SERVICE = {"X_Write_Key": SERVICE["key"]}
#: What reads from Kafka, such as the quotas, finds none.
NO_BROKER = "127.0.0.1:1"


class RunningCollector:
    """A collector, what Kafka got from it, and a client."""

    def __init__(self, directory: Path, **changes: Any) -> None:
        self.kafka = FaultyKafka(random.Random(1))
        self.kafka.max_latency_seconds = 0.0
        self.settings = Settings(
            _env_file=None, data_dir=directory, topic_prefix="test.", kafka_bootstrap=NO_BROKER, **changes
        )
        self.collector = Collector(self.settings, make_producer=self.kafka.make_producer)

    async def ask(
        self, method: str, address: str, body: object = None, *, peer: str = "198.51.100.1", **headers: str
    ) -> Response:
        """Send a request; names of headers are written with underscores. A body that is no bytes goes as JSON."""
        path, _, query = address.partition("?")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        if body is not None:
            named.setdefault("Content-Type", "application/json")
        request = Request(method, path, query, CIMultiDictProxy(CIMultiDict(named)), content, peer)
        return await self.collector.handle(request).response()

    @property
    def records(self) -> list[tuple[bytes, dict[str, Any]]]:
        """Keys and values of all records in Kafka, partition by partition."""
        return [(key, orjson.loads(value)) for log in self.kafka.log for key, value in log]

    def metric(self, name: str, **labels: str) -> float:
        """The value of a counter or gauge, 0 if nothing has set it."""
        return self.collector.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def running_collector(directory: Path, **changes: Any) -> AsyncIterator[RunningCollector]:
    """A collector whose events go to Kafka directly."""
    running, tasks = RunningCollector(directory, **changes), SupervisedTasks()
    await running.collector.start(tasks)
    await running.collector.until_direct(PATIENCE_SECONDS)
    yield running
    await running.collector.stop()
    await tasks.stop()
    assert not tasks.failed.done()


def header(response: Response, name: str) -> str | None:
    """The only value of a header, or None."""
    values = [value for each, value in response.headers if each.lower() == name.lower()]
    assert len(values) <= 1
    return values[0] if values else None


def code_of(response: Response) -> str:
    """The code of an error."""
    return str(orjson.loads(response.body)["error"]["code"])


def write_keys(directory: Path, **kinds: list[dict[str, Any]]) -> Path:
    """Write a keys file, such as with ``write_keys=[...]``. Whatever names no workspace is of w1."""
    path = directory / "keys.json"
    path.write_bytes(
        orjson.dumps({kind: [{"workspace_id": "w1", **each} for each in keys] for kind, keys in kinds.items()})
    )
    path.chmod(0o600)
    return path
