"""Fixtures for every test: a real broker and a local Tinybird, started when the first test asks for them."""

import logging
import signal

import pytest
import structlog
from hypothesis import settings

# A shell's background jobs ignore Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.fixtures.kafka", "tests.fixtures.tinybird"]

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("tracker", deadline=None)
settings.load_profile("tracker")


@pytest.fixture(autouse=True)
def fresh_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what a command that ran in this process has set up: streams that are closed by now, a hushed client.

    A module's logger that is kept from its first use on would write into that first test's stream for ever.
    """
    configure = structlog.configure
    monkeypatch.setattr(
        structlog, "configure", lambda **chosen: configure(**{**chosen, "cache_logger_on_first_use": False})
    )
    structlog.reset_defaults()
    logging.getLogger("aiokafka").setLevel(logging.NOTSET)
