"""A lease that recovery opens has all that its fold needs: what operators decided, the seal, and the schemas."""

import orjson

from tests.sessions_log import START_MS, rows
from tests.simulation.broker import PREFIX
from tests.unit.process.one_partition import NUMBER, TP
from tests.unit.process.recovery.one_worker import OTHER, Worker, worker_test
from topics.catalog import DEAD_LETTERS, HISTORY
from topics.headers import LogPlace
from topics.schemas import SchemaId, Schemas
from topics.system.history import Skip
from tracker.sessions.forwards import ForwardSeal

HISTORY_TOPIC = HISTORY.name(PREFIX)


def start_with(worker: Worker, **more) -> None:
    worker.more = more
    worker.recovery = worker.new_recovery()


def decide(worker: Worker, number: int, offset: int, reason: str) -> None:
    skip = Skip(partition=number, offset=offset, reason=reason, decided_at_ms=1)
    worker.broker.log(HISTORY_TOPIC, number).append([(skip.key, skip.encode(), ())], 0)


@worker_test
async def test_each_partition_gets_the_decisions_about_its_own_records(worker):
    start_with(worker, history_topic=HISTORY_TOPIC)
    decide(worker, NUMBER, 4, "too deep")
    decide(worker, NUMBER, 7, "too wide")
    decide(worker, OTHER.partition, 9, "too old")
    leases = {lease.tp: lease for lease in await worker.recover(TP, OTHER)}
    assert leases[TP].skips == {4: "too deep", 7: "too wide"}
    assert leases[OTHER].skips == {9: "too old"}


@worker_test
async def test_without_a_topic_of_decisions_nothing_is_skipped(worker):
    (lease,) = await worker.recover()
    assert lease.skips == {}


@worker_test
async def test_forwards_carry_the_seal_of_the_processors_secret(worker):
    worker.log.partition_of = lambda _: OTHER.partition
    start_with(worker, seal=ForwardSeal("s3cret"))
    await worker.recover()
    worker.log.event("elsewhere", START_MS)
    await worker.checkpoint_next()
    (forward,) = worker.broker.log(*OTHER).records
    assert ForwardSeal("s3cret").holds(forward.headers, LogPlace(NUMBER, 0), forward.key, forward.value)


@worker_test
async def test_events_are_judged_by_the_schemas_of_the_deployment(worker):
    fits = {"type": "object", "properties": {"total": {"type": "number"}}, "additionalProperties": False}
    start_with(worker, schemas=Schemas({SchemaId("purchase", "1-0-0"): fits}))
    await worker.recover()
    for properties in ({"total": 3}, {"total": "three"}):
        worker.log.event("a", START_MS, envelope={"schema": "1-0-0"}, event_type="purchase", properties=properties)
    await worker.checkpoint_next()
    (letter,) = rows(worker.outputs[DEAD_LETTERS.suffix])
    assert letter["source_offset"] == 1
    assert "total" in orjson.dumps(letter).decode()
