"""Structured logs: one event name and its fields a line; never a secret, never a raw body."""

import logging
import sys
from threading import Lock
from typing import Final

import structlog
from cachetools import TTLCache

from tracker.settings import Settings

#: A library's line comes once in this time, however often it is said: a broker that is away gives forty a second.
REPEAT_SECONDS: Final = 10.0
#: Lines that are known as said.
MAX_SAID_LINES: Final = 256


def configure_logging(settings: Settings, *, least: int = logging.NOTSET) -> None:
    """Set up structlog and the standard library's loggers (Faust, aiokafka, aiohttp) with one format on stderr.

    Lines below the settings' level, or below ``least``, are left out.
    """
    level = max(logging.getLevelNamesMapping()[settings.log_level.upper()], least)
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
    handler.addFilter(NotAgain())
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler])


class NotAgain(logging.Filter):
    """Lets each line through once in REPEAT_SECONDS. Threads may share it."""

    def __init__(self) -> None:
        super().__init__()
        self._said: TTLCache[tuple[str, str], bool] = TTLCache(MAX_SAID_LINES, REPEAT_SECONDS)
        self._lock = Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the line is new."""
        line = record.name, record.getMessage()
        with self._lock:
            if line in self._said:
                return False
            self._said[line] = True
            return True


def hush_kafka_client() -> None:
    """Keep aiokafka's line about each address that refuses from a person, to whom our own line says it once."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
