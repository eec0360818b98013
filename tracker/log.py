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
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # The libraries' own loggers speak up from WARNING on; their INFO is about their internals.
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s"
    )
