"""What a request's span gives to its records and its log lines."""

from collections.abc import Iterator

import pytest
from structlog.contextvars import get_contextvars

from tracker.local.ports import LOOPBACK, free_port
from tracker.observe.spans import Tracing

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE_ID}-b7ad6b7169203331"


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracing]:
    monkeypatch.setattr("tracker.observe.spans.EXPORT_TIMEOUT_SECONDS", 0.01)  # nobody answers
    tracing = Tracing("collect", f"http://{LOOPBACK}:{free_port()}", sample_ratio=0.0)
    yield tracing
    tracing.close()


def test_the_records_of_a_sampled_request_continue_its_trace(tracing: Tracing) -> None:
    with tracing.request("POST", f"{PARENT}-01") as span:
        ((name, value),) = tracing.record_headers()
    assert (name, value.decode()) == ("traceparent", f"00-{TRACE_ID}-{span.get_span_context().span_id:016x}-01")


@pytest.mark.parametrize("traceparent", [None, f"{PARENT}-00", "garbage", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_records_of_a_request_that_is_not_sampled_carry_nothing(tracing: Tracing, traceparent: str | None) -> None:
    with tracing.request("POST", traceparent):
        assert tracing.record_headers() == []


def test_log_lines_of_a_request_name_its_trace(tracing: Tracing) -> None:
    with tracing.request("POST", f"{PARENT}-01"):
        assert get_contextvars()["trace_id"] == TRACE_ID
    assert "trace_id" not in get_contextvars()
