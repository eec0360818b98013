"""Removing a generation: its directory and its own topics, and nothing else."""

from tracker.kafka import admin
from tracker.replay.generation import Generation
from tracker.replay.targets import OUTPUT_TOPICS
from tracker.settings import Settings


async def discard(settings: Settings, name: str) -> list[str]:
    """Remove a generation and return the names of its removed parts.

    Raises:
        RetryableError: Kafka can't be reached; nothing has been removed.
    """
    generation = Generation(settings, name)
    own = [topic.name(generation.topic_prefix) for topic in OUTPUT_TOPICS]
    removed = [f"topic {topic}" for topic in await admin.delete_topics(settings, own)]
    if generation.discard():
        removed.append(str(generation.path))
    return removed
