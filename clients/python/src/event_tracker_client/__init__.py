"""Sends events to the event tracker: in batches, in the background, each counted once.

``Client`` speaks HTTP with a collector. ``event_tracker_client.kafka.KafkaClient`` writes to Kafka itself.
"""

from event_tracker_client.api import OnError, OwnEvent, TrackerClient
from event_tracker_client.client import Client
from event_tracker_client.fields import EventFields, EventType, SessionFields
from event_tracker_client.ids import new_id
from event_tracker_client.items import Undelivered
from event_tracker_client.outbox import Limits

__all__ = [
    "Client",
    "EventFields",
    "EventType",
    "Limits",
    "OnError",
    "OwnEvent",
    "SessionFields",
    "TrackerClient",
    "Undelivered",
    "new_id",
]
