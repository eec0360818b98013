"""The parts of the benchmark by name. A later one registers here."""

from collections.abc import Mapping
from typing import Final

from benchmarks import process_stage, recovery, replay
from benchmarks.bench import Part

PARTS: Final[Mapping[str, Part]] = {
    "process": process_stage.measure,
    "recovery": recovery.measure,
    "memory": recovery.measure_memory,
    "replay": replay.measure,
}
