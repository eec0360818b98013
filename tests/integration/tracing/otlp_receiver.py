"""Where spans go: an OTLP/HTTP receiver that keeps what it gets."""

import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tracker.local.ports import LOOPBACK, free_port


@dataclass(frozen=True)
class ReceivedSpan:
    """A span, as the receiver understands it; ids in hexadecimal."""

    stage: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    links: tuple[tuple[str, str], ...]
    attributes: Mapping[str, Any] = field(hash=False)
    starts_ns: int
    ends_ns: int


class OtlpReceiver:
    """All spans received so far."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.spans: list[ReceivedSpan] = []

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()  # unzipped by aiohttp
        body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            stage = _values(resource.resource.attributes)["service.name"]
            self.spans += [_received(stage, span) for scope in resource.scope_spans for span in scope.spans]
        answer = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=answer, content_type="application/x-protobuf")


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    app = web.Application()
    app.router.add_post("/v1/traces", receiver.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, receiver.port).start()
    yield receiver
    await runner.cleanup()


def _received(stage: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        stage,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        _values(span.attributes),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
