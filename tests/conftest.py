"""Fixtures for every test: a real broker and a local Tinybird, started when the first test asks for them."""

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
def fresh_logging() -> None:
    """A command that ran in this process has set logging up for streams that are closed by now."""
    structlog.reset_defaults()
