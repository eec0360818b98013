"""Structured logs: one event name and its fields a line; never a secret, never a raw body."""

import logging
import sys

import structlog

from tracker.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Set up structlog and the standard library's loggers (Faust, aiokafka, aiohttp) with one format on stderr."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # The libraries' own loggers speak up from WARNING on; their INFO is about their internals.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler])


def hush_kafka_client() -> None:
    """Keep aiokafka's line about each address that refuses from a person, to whom our own line says it once."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
