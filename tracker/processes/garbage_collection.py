"""Python's cycle collector, set for processes that make thousands of short-lived objects at a time."""

import gc
from typing import Final

#: New objects before Python looks for cycles. Its own 700 would have it look many times in each chunk of records, and
#: several times in each turn of the collector's loop, each time through all requests that are under way.
GC_THRESHOLDS: Final = (200_000, 20, 100)


def look_for_cycles_rarely() -> None:
    """Look for cycles rarely from now on, and never among the objects made so far.

    A command calls it before it imports what it runs, and a stage calls it again once it has started. Imports, chunks
    and requests make many thousand objects without a cycle: looking among them was a tenth of all CPU, and a fifth of a
    stage's start. The few cycles that a start leaves behind stay in memory.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
