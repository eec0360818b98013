"""Events straight to Kafka with aiokafka, whose partitioner is Kafka's own.

pip install aiokafka
KAFKA=127.0.0.1:9092 TOPIC=tracker.events python producer_aiokafka.py SESSION_ID
"""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer


def record(kind: str, session_id: str, data: dict[str, object]) -> bytes:
    now = datetime.now(UTC).isoformat()
    return json.dumps({"type": kind, "session_id": session_id, "timestamp": now, "data": data}).encode()


async def main(session_id: str) -> None:
    key = session_id.encode()
    topic = os.environ.get("TOPIC", "tracker.events")
    producer = AIOKafkaProducer(
        bootstrap_servers=os.environ.get("KAFKA", "127.0.0.1:9092"), client_id="shop", enable_idempotence=True
    )
    async with producer:
        context = {"landing_page_id": "spring", "ab_test_id": "headline", "ab_test_variant_id": "b"}
        await producer.send_and_wait(topic, record("session", session_id, context), key=key)
        sale = {"event_type": "conversion", "event_id": f"order-{session_id}", "event_value": "49.90"}
        await producer.send_and_wait(topic, record("event", session_id, sale), key=key)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
