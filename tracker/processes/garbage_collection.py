"""Python's cycle collector, set for stages that make thousands of short-lived objects at a time."""

import gc
from typing import Final

#: Allocations before Python looks for cycles: once in tens of chunks, not many times in each.
GC_THRESHOLDS: Final = (200_000, 20, 100)


def look_for_cycles_rarely() -> None:
    """Look for cycles rarely, and never among what the start-up made. Call it once everything is imported.

    A chunk makes thousands of objects that no cycle holds; looking for cycles among them was a tenth of all CPU.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
