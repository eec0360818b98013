"""The cost of a schema's check at the edge, and of having schemas for events that name none."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import Bench, Figure, at_most, compared, figure
from topics.schemas import NO_SCHEMAS, SchemaId, Schemas
from tracker.collect.records.context import RecordContext, RecordRules
from tracker.collect.records.source_records import event_record
from tracker.schemas.files import read_schemas

#: What a check may cost at most.
GOAL_US: Final = 2.0
#: A run is the best of so many rounds: what else the machine does only adds.
ROUNDS: Final = 5
_US: Final = 1e6
_EXAMPLES: Final = Path(__file__).parents[1] / "examples" / "schemas"
_PURCHASE: Final = SchemaId("purchase", "1-0-0")
_PROPERTIES: Final[dict[str, Any]] = {
    "order_id": "o-1042",
    "total": 49.9,
    "items": [{"sku": "a", "quantity": 1}, {"sku": "b", "quantity": 2}],
}


async def measure(bench: Bench) -> Sequence[Figure]:
    """Measure the check alone, and records of events with and without schemas in the folder."""
    bench.say("the check of own events, on one core, without the network")
    schemas = read_schemas(_EXAMPLES)
    calls = max(1, bench.events // ROUNDS)
    checks, without, with_schemas = [], [], []
    for _ in range(bench.runs):
        checks.append(_us(lambda: schemas.faults(_PURCHASE, _PROPERTIES), calls))
        without.append(_us(_recording(NO_SCHEMAS), calls))
        with_schemas.append(_us(_recording(schemas), calls))
    plain = figure("schemas.event.no_folder", "us", without)
    return [
        at_most("schemas.check", "us", checks, GOAL_US),
        plain,
        compared("schemas.event.with_folder", "us", with_schemas, plain, less_is_better=True),
    ]


def _recording(schemas: Schemas) -> Callable[[], object]:
    """Return what makes the record of an event of the plan's types."""
    context = RecordContext(RecordRules(schemas=schemas), 1_767_323_045_678, lambda: "minted", None)
    return lambda: event_record({"event_type": "conversion", "event_value": "49.90", "session_id": "s"}, context)


def _us(call: Callable[[], object], calls: int) -> float:
    """Return the microseconds of this thread that a call takes."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        for _ in range(calls):
            call()
        best = min(best, (time.thread_time() - began) / calls * _US)
    return best
