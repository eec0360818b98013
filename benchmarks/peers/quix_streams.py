"""The bare job on Quix Streams, in an environment of its own: it runs as a script and imports nothing of ours.

A number per session in its state, with a changelog, and an output with acks=all. It does not validate, drop
duplicates, expire sessions, write session rows or derive ids.
"""

import os
from typing import Any

from quixstreams import Application, State


def numbered(event: dict[str, Any], state: State) -> dict[str, Any]:
    """Return an event's row with its number within the session."""
    sequence = state.get("sequence", 0) + 1
    state.set("sequence", sequence)
    return {**event["data"], "session_id": event["session_id"], "session_event_sequence": sequence}


def main() -> None:
    """Number events until SIGTERM."""
    app = Application(
        broker_address=os.environ["BENCH_KAFKA_BOOTSTRAP"],
        consumer_group=os.environ["BENCH_APP_ID"],
        auto_offset_reset="earliest",
        commit_interval=int(os.environ["BENCH_COMMIT_INTERVAL_MS"]) / 1000,
        state_dir=os.environ["BENCH_DATA_DIR"],
        producer_extra_config={"acks": "all", "enable.idempotence": True},
        loglevel="WARNING",
    )
    source = app.topic(os.environ["BENCH_SOURCE_TOPIC"], key_deserializer="bytes", value_deserializer="json")
    output = app.topic(os.environ["BENCH_OUTPUT_TOPIC"], key_serializer="bytes", value_serializer="json")
    app.dataframe(source).apply(numbered, stateful=True).to_topic(output)
    app.run()


if __name__ == "__main__":
    main()
