"""What every test runs under, and fixtures for all: a real broker and a local Tinybird, started when asked for."""

import gc
import logging
import os
import signal
import time
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import Phase, settings

# A shell's background jobs ignore Ctrl-C, and so would every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

#: Nobody's offices are here: 12:45 or 13:45 ahead, so whatever takes local time for UTC is off by an odd number.
FAR_ZONE = "Pacific/Chatham"
os.environ.setdefault("TZ", FAR_ZONE)
time.tzset()

#: Tests of real parts keep their order: those of a module share what they started.
ORDERED_FOLDERS = {"integration", "browser"}

pytest_plugins = [
    "tests.fixtures.kafka",
    "tests.fixtures.cluster",
    "tests.fixtures.tinybird",
    "tests.fixtures.tinybird_double",
    "tests.fixtures.power_cut",
]

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile("tracker", deadline=None)
# The same examples for each mutant, and none of the work that makes a failure readable.
settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, max_examples=40, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("tracker")


def pytest_report_header() -> str:
    """Say what else a run's order depends on; pytest-randomly says its own seed."""
    return f"TZ={os.environ['TZ']} PYTHONHASHSEED={os.environ.get('PYTHONHASHSEED', 'random')}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[None]:
    """Look for cycles neither while hundreds of modules load nor, later, among what they hold.

    It was a third of the CPU time of collecting, and a tenth of the tests'.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Let pytest-randomly shuffle the fast tests only. What ``-k`` and ``-m`` deselect stays away.

    Of the tests of real parts, files that are marked slow come first: at the end, the last of them would run alone.
    """
    found = [item for item in items if _is_ordered(item)]
    slow_files = {item.path for item in found if item.get_closest_marker("slow")}
    found.sort(key=lambda item: item.path not in slow_files)
    yield
    selected = set(items)
    ordered = iter([item for item in found if item in selected])
    items[:] = [next(ordered) if _is_ordered(item) else item for item in items]


def _is_ordered(item: pytest.Item) -> bool:
    return bool(ORDERED_FOLDERS.intersection(item.path.parts))


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
