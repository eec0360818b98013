"""The signals that tell a process to stop, heard in its event loop."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def call_on_stop(stop: Callable[[], object]) -> None:
    """Call something at SIGTERM and SIGINT instead of ending the process."""
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop)


def stop_event() -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set."""
    event = asyncio.Event()
    call_on_stop(event.set)
    return event


@contextmanager
def calling_on_stop(stop: Callable[[], object]) -> Iterator[None]:
    """Call something at SIGTERM and SIGINT while the block runs; after it they end the process again."""
    call_on_stop(stop)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)
