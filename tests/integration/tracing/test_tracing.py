"""One event is one trace: its request, its checkpoint, and the write of its row, each told by its own process.

And the figures that only the whole way gives: how long it takes, and how far behind each partition is.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.tinybird import LocalTinybird
from tests.integration.tracing.otlp_receiver import OtlpReceiver, otlp_receiver
from tests.patience import PATIENCE_SECONDS
from tests.stages import Stage
from tracker import clock
from tracker.kafka import admin
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.settings import Settings

POLL_SECONDS = 0.05
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
STAGES = ("collect", "process", "sink")


class Traced:
    """The three stages on topics of their own, tracing what its sender wants traced."""

    def __init__(self, broker: LocalKafka, tinybird: LocalTinybird, data_dir: Path) -> None:
        ports = {f"{stage}_port": free_port() for stage in STAGES}
        self.settings = Settings(kafka_bootstrap=broker.bootstrap, topic_prefix=f"tracing-{free_port()}.", partitions=1)
        self.urls = {stage: f"http://{LOOPBACK}:{ports[f'{stage}_port']}" for stage in STAGES}
        self.environment = {
            "TRACKER_KAFKA_BOOTSTRAP": broker.bootstrap,
            "TRACKER_TOPIC_PREFIX": self.settings.topic_prefix,
            "TRACKER_PARTITIONS": "1",
            "TRACKER_TINYBIRD_URL": tinybird.url,
            "TRACKER_TINYBIRD_TOKEN": tinybird.token,
            "TRACKER_TRACING_SAMPLE_RATIO": "0",
            **{f"TRACKER_{name.upper()}": str(port) for name, port in ports.items()},
        }
        self.stages = [Stage(stage, data_dir, self.environment) for stage in STAGES]

    async def start(self, receiver: OtlpReceiver) -> None:
        await admin.create_topics(self.settings)
        for stage in self.stages:
            stage.set_environment(TRACKER_TRACING_ENDPOINT=receiver.url)
            stage.start()

    async def send(self, session_id: str, **headers: str) -> None:
        """Send one event, once the collector serves."""
        event = {"session_id": session_id, "event_type": "click"}
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession(headers=headers) as http:
            while True:
                self.stages[0].assert_running()
                try:
                    async with http.post(f"{self.urls['collect']}/api/v1/events/track", json=event) as answer:
                        if answer.status == 202:
                            return
                        assert answer.status == 503, await answer.text()
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(POLL_SECONDS)

    async def until_written(self, tinybird: LocalTinybird, session_ids: list[str]) -> None:
        names = ", ".join(f"'{session_id}'" for session_id in session_ids)
        query = f"SELECT count() AS n FROM events_v1 FINAL WHERE session_id IN ({names}) FORMAT JSON"
        async with asyncio.timeout(PATIENCE_SECONDS):
            while int((await asyncio.to_thread(tinybird.sql, query))[0]["n"]) < len(session_ids):
                for stage in self.stages:
                    stage.assert_running()
                await asyncio.sleep(POLL_SECONDS)

    async def until_figure(self, stage: str, line: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as http:
            while True:
                async with http.get(f"{self.urls[stage]}/metrics") as answer:
                    if line in (await answer.text()).splitlines():
                        return
                await asyncio.sleep(POLL_SECONDS)


@pytest.fixture
def traced(kafka_broker: LocalKafka, local_tinybird: LocalTinybird, tmp_path: Path) -> Iterator[Traced]:
    traced = Traced(kafka_broker, local_tinybird, tmp_path)
    yield traced
    for stage in traced.stages:
        stage.end()


async def test_an_event_is_one_trace_from_its_request_to_its_row(traced: Traced, local_tinybird: LocalTinybird) -> None:
    untraced_id, session_id = clock.new_id(), clock.new_id()
    async with otlp_receiver() as receiver:
        await traced.start(receiver)
        await traced.send(untraced_id)  # past it, Kafka is reached: what waits in the spill loses its trace
        await traced.until_written(local_tinybird, [untraced_id])
        await traced.send(session_id, traceparent=f"00-{TRACE_ID}-{SPAN_ID}-01")
        await traced.until_written(local_tinybird, [untraced_id, session_id])
        await traced.until_figure("sink", 'tracker_sink_end_to_end_seconds_count{datasource="events_v1"} 2.0')
        await traced.until_figure("sink", 'tracker_sink_lag_records{datasource="events_v1",partition="0"} 0.0')
        await traced.until_figure("process", 'tracker_process_lag_records{partition="0"} 0.0')
        # Stopped, each has sent what it had.
        statuses = await asyncio.gather(*(asyncio.to_thread(stage.stop) for stage in traced.stages))
    assert statuses == [0, 0, 0]
    assert {span.trace_id for span in receiver.spans} == {TRACE_ID}  # nothing of the other event
    assert len(receiver.spans) == len(STAGES)
    request, checkpoint, batch = sorted(receiver.spans, key=lambda span: span.stage)
    assert (request.stage, request.name) == ("tracker-collect", "POST /api/v1/events/track")
    assert (checkpoint.stage, checkpoint.name) == ("tracker-process", "checkpoint")
    assert (batch.stage, batch.name) == ("tracker-sink", "write batch")
    assert request.parent_id == SPAN_ID
    assert checkpoint.parent_id == batch.parent_id == request.span_id
    assert batch.links == ((TRACE_ID, request.span_id),)
    assert request.attributes["http.response.status_code"] == 202
    assert checkpoint.attributes["messaging.destination.name"] == f"{traced.settings.topic_prefix}events"
    steps = {name for name in checkpoint.attributes if name.startswith("tracker.checkpoint.")}
    assert steps == {f"tracker.checkpoint.{step}_seconds" for step in ("fold", "outputs", "changelog", "store")}
    assert all(span.starts_ns <= span.ends_ns for span in receiver.spans)
