"""What the process stage is measured against: a Faust app as Faust's documentation would write it, and no more.

One event at a time, a RocksDB table that counts per session, an output with acks=all. It does not validate, drop
duplicates, expire sessions, write session rows, derive ids or await acks before it commits: the comparison favours it.
"""

import os
from typing import Any, Final

import faust
from faust.types import StreamT

PARTITIONS: Final = int(os.environ["BENCH_PARTITIONS"])

app = faust.App(
    os.environ["BENCH_APP_ID"],
    broker=f"kafka://{os.environ['BENCH_KAFKA_BOOTSTRAP']}",
    datadir=os.environ["BENCH_DATA_DIR"],
    store="rocksdb://",
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    producer_acks=-1,
    web_enabled=False,
)
source = app.topic(os.environ["BENCH_SOURCE_TOPIC"], key_type=str, value_serializer="json")
sequenced = app.topic(os.environ["BENCH_OUTPUT_TOPIC"], key_type=str, value_serializer="json")
# The driver has to be named, and the default block cache is 2 GiB per partition.
sequences = app.Table(
    "sequences",
    default=int,
    partitions=PARTITIONS,
    options={"driver": "rocksdict", "block_cache_size": 32 * 1024 * 1024},
)


@app.agent(source)
async def number_events(events: StreamT[dict[str, Any]]) -> None:
    """Number each event within its session."""
    async for event in events:
        session_id = event["session_id"]
        sequences[session_id] += 1
        row = {**event["data"], "session_id": session_id, "session_event_sequence": sequences[session_id]}
        await sequenced.send(key=session_id, value=row)


if __name__ == "__main__":
    app.main()
