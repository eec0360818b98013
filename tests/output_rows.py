"""Output rows as the processor writes them, as far as a reader of the output topics looks at them."""

import orjson

from topics.catalog import SEQUENCED, SESSIONS
from tracker.kafka.clients import new_producer
from tracker.settings import Settings


async def write_session(settings: Settings, session_id: str, workspace_id: str, events: int) -> None:
    """A session with numbered events, on the output topics."""
    row = {
        "session_id": session_id,
        "session_key": session_id,
        "close_reason": "",
        "session_timeout_seconds": 1_800,
        "workspace_id": workspace_id,
        "ab_test_variant_id": "",
        "event_count": 0,
    }
    async with new_producer(settings, "test-rows") as producer:
        await producer.send_and_wait(SESSIONS.name(settings.topic_prefix), orjson.dumps(row), key=session_id.encode())
        for number in range(1, events + 1):
            event = {
                "session_id": session_id,
                "session_event_sequence": number,
                "event_type": "click",
                "event_id": f"{session_id}-{number}",
                "page_url": f"https://{workspace_id}.example/",
                "workspace_id": workspace_id,
            }
            await producer.send_and_wait(
                SEQUENCED.name(settings.topic_prefix), orjson.dumps(event), key=session_id.encode()
            )
