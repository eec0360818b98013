"""The parts that a run is built of: the real ones. Planted bugs replace one of them (``planted.py``)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from tracker.process.checkpoint import Checkpoint
from tracker.process.recovery import SessionRecovery
from tracker.sink.lease import SinkLeaseOpener
from tracker.sink.pipeline import Pipeline
from tracker.streaming.lease import LeaseBook
from tracker.table.store import SessionStore


@dataclass(frozen=True, slots=True)
class Parts:
    """Classes, each called as production calls it."""

    lease_book: Any = LeaseBook
    store: Any = SessionStore
    recovery: Any = SessionRecovery
    checkpoint: Any = Checkpoint
    pipeline: Any = Pipeline
    sink_opener: Any = SinkLeaseOpener
    #: Functions of production modules that are replaced while the run lasts: module, name, replacement.
    patches: tuple[tuple[Any, str, Any], ...] = ()
    #: Whether the patches are a mistake in the session rules: then the fold that judges the run makes it, too.
    are_rules: bool = False

    def judged(self) -> AbstractContextManager[None]:
        """What is in place while the run is judged."""
        return self.in_place() if self.are_rules else nullcontext()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the patches in, and take them out again."""
        before = [(module, name, getattr(module, name)) for module, name, _ in self.patches]
        try:
            for module, name, replacement in self.patches:
                setattr(module, name, replacement)
            yield
        finally:
            for module, name, original in before:
                setattr(module, name, original)
