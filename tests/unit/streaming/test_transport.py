"""What of Faust's consumer is ours."""

from typing import Any

from faust.types import TP

from tracker.streaming.transport import ChunkConsumer


class AskedError(Exception):
    """Faust's own check of a partition has run."""


class Thread:
    def verify_event_path(self, now: float, tp: TP) -> None:
        raise AskedError(tp)


class IdleConsumer(ChunkConsumer):
    """A consumer that has a partition of the changelog, which it never fetches."""

    should_stop = False  # type: ignore[assignment]

    def __init__(self) -> None:
        self._thread: Any = Thread()

    def assignment(self) -> set[TP]:
        return {TP("sessions-changelog", 3)}

    async def sleep(self, n: Any, *, loop: Any = None) -> None:
        pass


async def test_a_partition_that_is_not_fetched_on_purpose_is_no_error_in_the_log():
    """Faust looks every few seconds, and would say so from the fifth minute on."""
    await IdleConsumer().verify_all_partitions_active()
