"""The examples that users copy, run as they are: their records are numbered, wherever their language puts them."""

import asyncio
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import orjson
import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.integration.collect.collector_process import running_collector
from tests.patience import PATIENCE_SECONDS
from tests.source_log import read_all
from tests.stages import Stage, wait_until
from topics.catalog import SEQUENCED, SOURCE
from tracker import clock
from tracker.kafka import admin
from tracker.kafka.clients import partition_for_key
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.processes.children import Child
from tracker.settings import Settings

EXAMPLES = PROJECT_DIR / "examples"
JARS = Settings().cache_dir / "kafka-4.1.0" / "*"
PARTITIONS = 12
CONTEXT = {"landing_page_id": "spring", "ab_test_id": "headline", "ab_test_variant_id": "b"}

PRODUCERS = {
    "aiokafka": [sys.executable, "producer_aiokafka.py"],
    "confluent-kafka": [sys.executable, "producer_confluent.py"],
    "Java": ["java", "-cp", str(PROJECT_DIR / JARS), "Producer.java"],
}


@pytest.fixture
def settings(kafka_broker: LocalKafka, tmp_path: Path) -> Settings:
    settings = Settings(
        kafka_bootstrap=kafka_broker.bootstrap,
        topic_prefix=f"examples-{free_port()}.",
        partitions=PARTITIONS,
        process_port=free_port(),
        collect_port=free_port(),
        data_dir=tmp_path,
    )
    asyncio.run(admin.create_topics(settings))
    return settings


@pytest.fixture
def processor(settings: Settings, tmp_path: Path):
    stage = Stage(
        "process",
        tmp_path / "processor",
        {
            "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
            "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
            "TRACKER_PARTITIONS": str(PARTITIONS),
            "TRACKER_PROCESS_PORT": str(settings.process_port),
        },
    )
    stage.start()
    yield stage
    stage.end()


def numbered(settings: Settings) -> dict[str, dict]:
    """Each session's event, by session."""
    rows = [orjson.loads(record.value) for record in asyncio.run(read_all(settings, SEQUENCED)) if record.value]
    return {row["session_id"]: row for row in rows}


@pytest.mark.usefixtures("processor")
def test_the_producers_of_every_language_put_a_session_where_it_belongs_and_its_sale_is_numbered(settings):
    environment = {
        **os.environ,
        "KAFKA": settings.kafka_bootstrap,
        "TOPIC": SOURCE.name(settings.topic_prefix),
    }
    # With a wrong partitioner a key may still land in the right place, but hardly three of them.
    sessions = {clock.new_id(): language for language in PRODUCERS for _ in range(3)}
    for session_id, language in sessions.items():
        subprocess.run(
            [*PRODUCERS[language], session_id], cwd=EXAMPLES, env=environment, check=True, timeout=PATIENCE_SECONDS
        )
    source = [record for record in asyncio.run(read_all(settings, SOURCE)) if record.key]
    for record in source:
        assert record.partition == partition_for_key(record.key, PARTITIONS), sessions[record.key.decode()]
    assert len(source) == 2 * len(sessions)
    wait_until(lambda: numbered(settings).keys() >= sessions.keys(), "a number for each sale")
    for session_id, row in numbered(settings).items():
        assert row["session_event_sequence"] == 1
        assert row["event_id"] == f"order-{session_id}"
        assert {name: row[name] for name in CONTEXT} == CONTEXT


@pytest.mark.usefixtures("processor")
async def test_a_landing_page_opens_a_session_with_a_variant_and_its_order_is_a_conversion(settings, tmp_path):
    page = f"http://{LOOPBACK}:{free_port()}"
    async with running_collector(settings, tmp_path / "collect.log") as collector:
        environment = {**os.environ, "COLLECT_URL": collector.url, "PORT": page.rpartition(":")[2]}
        command = [sys.executable, str(EXAMPLES / "landing_page.py")]
        process = Child("landing-page", command, env=environment, output=tmp_path / "page.log")
        try:
            session_id, shown = await asyncio.to_thread(visit_and_order, page)
        finally:
            process.kill()
        await asyncio.to_thread(
            wait_until, lambda: session_id in numbered(settings), "the numbered conversion", PATIENCE_SECONDS
        )
    row = await asyncio.to_thread(lambda: numbered(settings)[session_id])
    assert (row["event_type"], row["event_value"], row["session_event_sequence"]) == ("conversion", "49.90", 1)
    assert (row["ab_test_id"], row["landing_page_id"]) == ("headline", "spring")
    assert {"a": "Save time", "b": "Save money"}[row["ab_test_variant_id"]] in shown


def visit_and_order(page: str) -> tuple[str, str]:
    """Be a visitor who keeps cookies; return the session and what the page showed."""
    cookies = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))

    def is_there() -> bool:
        try:
            return browser.open(page, timeout=PATIENCE_SECONDS).status == 200
        except OSError:
            return False

    wait_until(is_there, "the landing page")
    shown = browser.open(page, timeout=PATIENCE_SECONDS).read().decode()
    assert (
        "Thank you"
        in browser.open(urllib.parse.urljoin(page, "/order"), data=b"", timeout=PATIENCE_SECONDS).read().decode()
    )
    [session_id] = [cookie.value for cookie in cookies]
    return session_id, shown


def test_the_node_example_is_sound_javascript():
    subprocess.run(["node", "--check", "producer.mjs"], cwd=EXAMPLES, check=True, timeout=PATIENCE_SECONDS)
