"""The same with confluent-kafka. librdkafka's default partitioner is another one: murmur2_random is Kafka's own.

pip install confluent-kafka
KAFKA=127.0.0.1:9092 TOPIC=tracker.events python producer_confluent.py SESSION_ID
"""

import json
import os
import sys
from datetime import UTC, datetime

from confluent_kafka import KafkaError, Message, Producer


def record(kind: str, session_id: str, data: dict[str, object]) -> bytes:
    now = datetime.now(UTC).isoformat()
    return json.dumps({"type": kind, "session_id": session_id, "timestamp": now, "data": data}).encode()


def delivered(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        print(f"not sent: {message.key()!r}: {error}", file=sys.stderr)


def main(session_id: str) -> int:
    topic = os.environ.get("TOPIC", "tracker.events")
    producer = Producer(
        {
            "bootstrap.servers": os.environ.get("KAFKA", "127.0.0.1:9092"),
            "client.id": "shop",
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
        }
    )
    context = {"landing_page_id": "spring", "ab_test_id": "headline", "ab_test_variant_id": "b"}
    sale = {"event_type": "conversion", "event_id": f"order-{session_id}", "event_value": "49.90"}
    for kind, data in (("session", context), ("event", sale)):
        producer.produce(topic, record(kind, session_id, data), key=session_id.encode(), on_delivery=delivered)
    return producer.flush(30)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
