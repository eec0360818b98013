"""A login or certificate that the brokers refuse while a stage works: it ends with a line, not with trying for ever."""

import asyncio
from time import monotonic
from typing import Final

from aiokafka import AIOKafkaProducer

from tracker.kafka.access import refusal
from tracker.settings import Settings
from tracker.streaming.app import ChunkApp

LOOK_INTERVAL_SECONDS: Final = 5.0
#: A broker that comes up may not know its users yet. What is refused for so long is meant.
REFUSED_SECONDS: Final = 10.0


async def watch_access(app: ChunkApp, settings: Settings, producer: AIOKafkaProducer) -> None:
    """Ask now and then whether the brokers still answer, and where they don't, whether it is us whom they refuse.

    Both the consumer and the stage's producer are asked: either may have lost its connections while the other works.

    Connections that work are left alone: a password that was changed does no harm until they break. A broker that is
    away is waited for (docs/decisions/0009).

    Raises:
        ConfigurationError: they have refused us for REFUSED_SECONDS; says which setting is wrong.
    """
    since: float | None = None
    while True:
        await asyncio.sleep(LOOK_INTERVAL_SECONDS)
        answered = await app.chunk_consumer.thread.is_answered() and await producer.client.force_metadata_update()
        refused = None if answered else await refusal(settings)
        if refused is None:
            since = None
        elif since is None:
            since = monotonic()
        elif monotonic() - since >= REFUSED_SECONDS:
            raise refused
