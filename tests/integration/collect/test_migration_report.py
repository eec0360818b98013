"""A collector in shadow on a real Kafka, flags changed while it runs, and the report over what it sent."""

import asyncio
import json
import sys
from datetime import UTC, datetime

import orjson

from tests.integration.collect.collector_process import running_collector
from tests.source_log import read_all
from topics.catalog import LEGACY, SOURCE
from topics.queue import queue_adapter
from tracker import clock
from tracker.kafka.admin import create_topics
from tracker.kafka.clients import new_producer
from tracker.settings import Settings


async def migration(settings: Settings, *arguments: str) -> tuple[int, str]:
    """Run ``tracker migration`` with these settings."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tracker",
        "migration",
        *arguments,
        "--file",
        str(settings.migration_file),
        env={"TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap, "TRACKER_TOPIC_PREFIX": settings.topic_prefix},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def at(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")


async def test_both_lanes_get_the_same_and_the_report_says_so_until_they_do_not(collect_settings, tmp_path):
    flags = tmp_path / "flags.json"
    fields = collect_settings.model_dump(include=collect_settings.model_fields_set)
    settings = Settings(**fields, migration_file=flags)
    await create_topics(settings)
    code, said = await migration(settings, "set", "shadow", "--in-seconds", "10")
    assert code == 0, said
    # The first step of a fresh file says how it was before; here it should be in effect at once.
    steps = json.loads(flags.read_text())["steps"]
    flags.write_text(json.dumps({"steps": [{**steps[0], "lane": "shadow"}]}))
    began_ms = clock.now_ms()

    async with running_collector(settings, tmp_path / "collect.log") as collector:
        for number in range(40):
            body = {
                "event_type": "click",
                "session_id": f"s{number % 4}",
                "event_id": f"e{number}",
                "workspace_id": "w",
            }
            async with collector.http.post("/api/v1/events/track", json=body) as answer:
                assert answer.status == 202
        async with collector.http.post("/api/v1/events/session", json={"session_id": "s1", "user_id": "u"}) as answer:
            assert answer.status == 202
        flags.write_text("{")
        await collector.until_status("/readyz", 200, saying="flags.json")
        async with collector.http.post("/api/v1/events/track", json={**body, "event_id": "e40"}) as answer:
            assert answer.status == 202
        flags.write_text(json.dumps({"steps": [{**steps[0], "lane": "shadow"}]}))

    sent = [orjson.loads(record.value)["data"].get("event_id") for record in await read_all(settings, SOURCE)]
    queued = [queue_adapter.validate_json(record.value) for record in await read_all(settings, LEGACY)]
    assert [message["data"].get("event_id") for message in queued] == sent
    assert len(sent) == 42

    span = ("--since", at(began_ms - 1_000), "--until", at(clock.now_ms() + 2_000))
    code, said = await migration(settings, "report", *span)
    assert code == 0, said
    assert "both lanes got the same" in said

    async with new_producer(settings, "test") as producer:
        value = orjson.dumps(
            {
                "type": "event",
                "session_id": "s1",
                "timestamp": clock.now_iso(),
                "data": {"event_type": "click", "event_id": "lost", "workspace_id": "w"},
            }
        )
        await producer.send_and_wait(SOURCE.name(settings.topic_prefix), value, key=b"s1")
    span = (*span[:3], at(clock.now_ms() + 2_000))
    code, said = await migration(settings, "report", *span, "--json")
    assert code == 1, said
    report = json.loads(said)
    assert report["differences"] == {"missing in legacy": 1}
    assert report["first_differences"][0]["event_id"] == "lost"
    assert {row["type"]: (row["tracker"], row["legacy"]) for row in report["counts"]} == {
        "event": (42, 41),
        "session": (1, 1),
    }
    code, said = await migration(settings, "show")
    assert code == 0
    assert "shadow" in said
