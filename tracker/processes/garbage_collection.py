"""Python's cycle collector, set for processes that make thousands of short-lived objects at a time."""

import gc
from typing import Final

#: New objects before Python looks for cycles. Its own 700 would have it look many times in each chunk of records, and
#: several times in each turn of the collector's loop, each time through all requests that are under way.
GC_THRESHOLDS: Final = (200_000, 20, 100)


def look_for_cycles_rarely() -> None:
    """Look for cycles rarely, and never among what the start-up made. Call it once everything is imported.

    Chunks and requests make thousands of objects without a cycle; looking for cycles among them was a tenth of all CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
