"""The parts of the benchmark by name. A later one registers here."""

from collections.abc import Mapping
from typing import Final

from benchmarks import collect, hot_key, process_stage, processes, recovery, replay, schemas, sink_stage, takeover
from benchmarks.bench import Part
from benchmarks.peers import measure as peers

PARTS: Final[Mapping[str, Part]] = {
    "process": process_stage.measure,
    "processes": processes.measure,
    "visitors": process_stage.measure_visitors,
    "peers": peers.measure,
    "recovery": recovery.measure,
    "memory": recovery.measure_memory,
    "takeover": takeover.measure,
    "hot_key": hot_key.measure,
    "replay": replay.measure,
    "collect": collect.measure,
    "schemas": schemas.measure,
    "sink": sink_stage.measure,
}
