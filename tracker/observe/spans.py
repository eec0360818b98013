"""The spans of an event's way, sent over OTLP/HTTP. Imported only where tracing is on (``tracing``).

The trace's context travels as W3C ``traceparent``: in the request, then in a header of the source record, which the
fold copies to the numbered event. So the request, the record's checkpoint and the write of its batch are one trace.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final, Protocol

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from topics.headers import TRACEPARENT, Headers, read_traceparent
from tracker import clock

#: Spans that wait to be sent; more are dropped, because clients decide which of their requests are sampled.
MAX_QUEUED_SPANS: Final = 4_096
MAX_EXPORT_SPANS: Final = 512
EXPORT_INTERVAL_MS: Final = 1_000
#: What an export may take, retries included; so long may a stop be held up.
EXPORT_TIMEOUT_SECONDS: Final = 5.0
#: Records of one chunk that get a span.
MAX_CHUNK_SPANS: Final = 100
#: Records that one batch's span is linked to.
MAX_BATCH_LINKS: Final = 100

_NS_PER_MS: Final = 1_000_000
_propagator: Final = TraceContextTextMapPropagator()


class Record(Protocol):
    """A Kafka record, as far as tracing looks at it."""

    @property
    def topic(self) -> str:
        """The topic that it is in."""

    @property
    def partition(self) -> int:
        """The partition that it is in."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Where its trace's context may be."""


class Tracing:
    """One stage's tracer. All methods are cheap where nothing is sampled; spans are sent by a thread of their own."""

    def __init__(self, stage: str, endpoint: str, sample_ratio: float) -> None:
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_TIMEOUT_SECONDS)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            resource=Resource.create({SERVICE_NAME: f"tracker-{stage}"}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=MAX_QUEUED_SPANS,
                schedule_delay_millis=EXPORT_INTERVAL_MS,
                max_export_batch_size=MAX_EXPORT_SPANS,
            )
        )
        self._tracer = self._provider.get_tracer("tracker")

    def close(self) -> None:
        """Send the remaining spans. Blocks, for about EXPORT_TIMEOUT_SECONDS if nothing answers."""
        self._provider.shutdown()

    @contextmanager
    def request(self, name: str, traceparent: str | None) -> Iterator[Span]:
        """Trace one HTTP request within the client's trace; its span is the current one meanwhile."""
        with (
            self._tracer.start_as_current_span(name, _context_of(traceparent or ""), SpanKind.SERVER) as span,
            bound_contextvars(**_log_fields(span)),
        ):
            yield span

    def record_headers(self) -> Headers:
        """Return the header that puts a record into the current request's trace; none if it is not sampled."""
        context = trace.get_current_span().get_span_context()
        if not (context.is_valid and context.trace_flags.sampled):
            return []
        return [(TRACEPARENT, f"00-{context.trace_id:032x}-{context.span_id:016x}-01".encode())]

    def checkpointed(self, records: Iterable[Record], step_seconds: Mapping[str, float], seconds: float) -> None:
        """Trace the checkpoint that has just ended after so many seconds, once for each sampled record."""
        end_ns = clock.now_ms() * _NS_PER_MS
        times = {f"tracker.checkpoint.{step}_seconds": taken for step, taken in step_seconds.items()}
        for record, parent in islice(_sampled(records), MAX_CHUNK_SPANS):
            span = self._tracer.start_span(
                "checkpoint",
                parent,
                SpanKind.CONSUMER,
                {**_place(record), **times},
                start_time=end_ns - int(seconds * 1000 * _NS_PER_MS),
            )
            span.end(end_ns)

    @contextmanager
    def batch(self, datasource: str, rows: Sequence[Record]) -> Iterator[None]:
        """Trace the write of a batch: in the trace of its first sampled row, linked to those of the others."""
        parents = [parent for _, parent in islice(_sampled(rows), MAX_BATCH_LINKS)]
        if not parents:
            yield
            return
        links = [Link(trace.get_current_span(parent).get_span_context()) for parent in parents]
        attributes: dict[str, str | int] = {"tracker.datasource": datasource, "tracker.batch.rows": len(rows)}
        with (
            self._tracer.start_as_current_span("write batch", parents[0], SpanKind.CLIENT, attributes, links) as span,
            bound_contextvars(**_log_fields(span)),
        ):
            yield


def _sampled(records: Iterable[Record]) -> Iterator[tuple[Record, Context]]:
    for record in records:
        traceparent = read_traceparent(record.headers) if record.headers else None
        if traceparent is not None:
            parent = _context_of(traceparent.decode(errors="replace"))
            if trace.get_current_span(parent).get_span_context().trace_flags.sampled:
                yield record, parent


def _context_of(traceparent: str) -> Context:
    """Return the context that a header names; an empty one, which begins a trace, if it names none."""
    return _propagator.extract({TRACEPARENT: traceparent}, Context())


def _place(record: Record) -> dict[str, str | int]:
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }


def _log_fields(span: Span) -> dict[str, str]:
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
