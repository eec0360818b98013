"""Ids that are derived, never drawn: the same log gives the same ids, on every replay, on any machine."""

from typing import Final

import uuid_utils
from xxhash import xxh3_64_digest

#: The namespace of every id of ours: UUIDv5 of the name "event-tracker" in the DNS namespace.
NAMESPACE: Final = uuid_utils.uuid5(uuid_utils.NAMESPACE_DNS, "event-tracker")

#: Bytes of an event id that a session remembers; two of 128 ids collide once in 10^15 sessions.
FINGERPRINT_BYTES: Final = 8

_UUID_CHARS: Final = 36
_UUID_VERSION_AT: Final = 14


def event_row_id(session_id: str, created_ms: int, sequence: int, event_id: str) -> str:
    """Return the ``id`` of an event row.

    It holds the event id too: a number given twice stays visible as two rows. And the session's beginning: a key that
    was forgotten has its second session under the same ``session_id`` (docs/decisions/0005).
    """
    return str(uuid_utils.uuid5(NAMESPACE, f"event\n{session_id}\n{created_ms}\n{sequence}\n{event_id}"))


def missing_event_id(key: str, partition: int, offset: int) -> str:
    """Return the ``event_id`` of an event that came without one: its place in the log."""
    return str(uuid_utils.uuid5(NAMESPACE, f"event_id\n{key}\n{partition}\n{offset}"))


def renewed_session_id(key: str, ordinal: int, created_ms: int, first_event_id: str) -> str:
    """Return the ``session_id`` of a key's later session: from the key, its start and its first event.

    ``ordinal`` counts the key's sessions, so that two that open in one millisecond still differ.
    """
    return str(uuid_utils.uuid5(NAMESPACE, f"session\n{key}\n{ordinal}\n{created_ms}\n{first_event_id}"))


def fingerprint(event_id: str) -> bytes:
    """Return what a session remembers of an event id, FINGERPRINT_BYTES long."""
    return xxh3_64_digest(event_id.encode())


def birth_ms(key: str) -> int | None:
    """Return the time of birth that a UUIDv7 key carries, in milliseconds since the epoch, or None."""
    if len(key) != _UUID_CHARS or key[_UUID_VERSION_AT] != "7":
        return None
    try:
        return int(key[:8] + key[9:13], 16)
    except ValueError:
        return None
