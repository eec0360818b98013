"""Traces that follow an event from HTTP to Tinybird; off unless TRACKER_TRACING_ENDPOINT says where spans go.

Nothing here imports OpenTelemetry: who does not trace does not need it, and does not pay for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from tracker.errors import ConfigurationError
from tracker.settings import Settings

if TYPE_CHECKING:
    from tracker.observe.spans import Tracing

log = structlog.get_logger()


@asynccontextmanager
async def tracing_of(settings: Settings, stage: str) -> AsyncIterator["Tracing | None"]:
    """Trace while the context is entered, and send the remaining spans at its end; None if tracing is off.

    Raises:
        ConfigurationError: tracing is on, but OpenTelemetry is not installed.
    """
    if not settings.tracing_endpoint:
        yield None
        return
    try:
        from tracker.observe.spans import Tracing  # noqa: PLC0415 - only who traces has it
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise ConfigurationError(
            "TRACKER_TRACING_ENDPOINT is set, but OpenTelemetry is not installed: pip install 'event-tracker[tracing]'"
        ) from error
    tracing = Tracing(stage, settings.tracing_endpoint, settings.tracing_sample_ratio)
    log.info("tracing is on", sample_ratio=settings.tracing_sample_ratio)
    try:
        yield tracing
    finally:
        await asyncio.to_thread(tracing.close)
