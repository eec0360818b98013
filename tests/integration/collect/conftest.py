"""Every test of the collector has its own topics on the shared broker, so none sees another's records."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.collect.collector_process import CollectorProcess, running_collector
from tracker import clock
from tracker.kafka.admin import create_topics
from tracker.local.kafka import LocalKafka
from tracker.local.ports import free_port
from tracker.settings import Settings


@pytest.fixture
def collect_settings(kafka_broker: LocalKafka, tmp_path: Path) -> Settings:
    return Settings(
        kafka_bootstrap=kafka_broker.bootstrap,
        topic_prefix=f"collect-{clock.new_id()}.",
        partitions=4,
        collect_port=free_port(),
        collect_metrics_port=free_port(),
        process_url=f"http://127.0.0.1:{free_port()}",
        data_dir=tmp_path,
    )


@pytest.fixture
async def collector(collect_settings: Settings, tmp_path: Path) -> AsyncIterator[CollectorProcess]:
    await create_topics(collect_settings)
    async with running_collector(collect_settings, tmp_path / "collect.log") as running:
        yield running
