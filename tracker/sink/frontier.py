"""Several batches are under way and end in any order; each partition is committed in its own. Pure."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tracker.sink.batches import Batch, Covered
from tracker.sink.lease import SinkLease


@dataclass(slots=True)
class _Step:
    covered: Covered
    is_written: bool = False


class Frontier:
    """Knows up to where each lease's rows are all written, without a hole."""

    def __init__(self) -> None:
        self._steps: dict[SinkLease, deque[_Step]] = {}
        self._of_batch: dict[int, list[_Step]] = {}

    def sent(self, batch: Batch) -> None:
        """Note a batch, in the order in which the batches were closed."""
        steps = [_Step(covered) for covered in batch.covers.values()]
        self._of_batch[id(batch)] = steps
        for step in steps:
            self._steps.setdefault(step.covered.lease, deque()).append(step)

    def written(self, batch: Batch) -> Iterator[Covered]:
        """Note that a batch's rows are all written or turned away; yield what may be committed now."""
        for step in self._of_batch.pop(id(batch)):
            step.is_written = True
            lease = step.covered.lease
            steps, reached = self._steps[lease], None
            while steps and steps[0].is_written:
                reached = steps.popleft().covered
            if not steps:
                del self._steps[lease]
            if reached is not None:
                yield reached
