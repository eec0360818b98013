"""The keys of the session table's rows, and the ids that are derived from them.

A source record's key is the session id, whatever its workspace. The table's row under that very key is the session of
the key's *home* workspace; every other workspace has a separate row under the key and its name. A session id holds no
control characters, so one of them can separate the two.

Ids are derived, never drawn: the same log gives the same ids, on every replay, on any machine.
"""

from typing import Final

import uuid_utils
from xxhash import xxh3_128_hexdigest

from tracker.sessions.rules import Rules

_SEPARATOR: Final = b"\x00"
#: Keys that begin like this hold other rows than sessions: the watermark, the local position, pages, usage.
META_PREFIX: Final = b"\x00"
_PAGE_PREFIX: Final = META_PREFIX + b"page" + _SEPARATOR
_PAGE_NUMBER_BYTES: Final = 8

#: The namespace of session ids: UUIDv5 of the name "event-tracker" in the DNS namespace.
NAMESPACE: Final = uuid_utils.uuid5(uuid_utils.NAMESPACE_DNS, "event-tracker")

_UUID_CHARS: Final = 36
_UUID_VERSION_AT: Final = 14
#: The variant of RFC 9562: two fixed bits in front of the two that a hexadecimal digit has left.
_VARIANT: Final = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def row_key(session_key: bytes, workspace_id: str) -> bytes:
    """Return the key of the row of a workspace other than the session key's home."""
    return session_key + _SEPARATOR + workspace_id.encode()


def session_key(row: bytes) -> bytes:
    """Return the session key that a row's key begins with."""
    return row.partition(_SEPARATOR)[0]


def is_home(row: bytes) -> bool:
    """Return whether this is the key of the row of a session key's home."""
    return _SEPARATOR not in row


def page_key(row: bytes, number: int) -> bytes:
    """Return the key of a page of a row."""
    return _PAGE_PREFIX + row + number.to_bytes(_PAGE_NUMBER_BYTES, "big")


def is_page(key: bytes) -> bool:
    """Return whether this is the key of a page."""
    return key.startswith(_PAGE_PREFIX)


def row_of_page(page: bytes) -> bytes:
    """Return the row that a page belongs to."""
    return page[len(_PAGE_PREFIX) : -_PAGE_NUMBER_BYTES]


def page_number(page: bytes) -> int:
    """Return the number of a page."""
    return int.from_bytes(page[-_PAGE_NUMBER_BYTES:], "big")


def event_row_prefix(workspace_id: str, session_id: str, created_ms: int) -> str:
    """Return what the ids of a session's event rows are made of, as far as it is the same for all of them."""
    return f"event\n{workspace_id}\n{session_id}\n{created_ms}\n"


def event_row_id(prefix: str, sequence: int, event_id: str) -> str:
    """Return the ``id`` of an event row of the session whose prefix is given. About 0.5 us.

    It holds the event id too: a number given twice stays visible as two rows. And the session's beginning: a key that
    was forgotten has its second session under the same ``session_id`` (docs/decisions/0005).
    """
    return _uuid8(f"{prefix}{sequence}\n{event_id}".encode())


def missing_event_id(key: str, partition: int, offset: int) -> str:
    """Return the ``event_id`` of an event that came without one: its place in the log."""
    return _uuid8(f"event_id\n{key}\n{partition}\n{offset}".encode())


def renewed_session_id(workspace_id: str, key: str, ordinal: int, created_ms: int, first_event_id: str) -> str:
    """Return the ``session_id`` of a key's later session: from workspace, key, its start and its first event.

    ``ordinal`` counts the key's sessions, so that two that open in one millisecond still differ. Who picks keys and
    event ids can't pick the result: it is made with SHA-1.
    """
    name = f"session\n{workspace_id}\n{key}\n{ordinal}\n{created_ms}\n{first_event_id}"
    return str(uuid_utils.uuid5(NAMESPACE, name))


def birth_ms(key: str) -> int | None:
    """Return the time of birth that a UUIDv7 key carries, in milliseconds since the epoch, or None."""
    if len(key) != _UUID_CHARS or key[_UUID_VERSION_AT] != "7":
        return None
    try:
        return int(key[:8] + key[9:13], 16)
    except ValueError:
        return None


def looks_used(key: str, now_ms: int, rules: Rules) -> bool:
    """Return whether the key is older than any stub is kept, by the time of birth that it carries itself."""
    if rules.keys_are_used:
        return True
    born_ms = birth_ms(key)
    return born_ms is not None and born_ms < now_ms - rules.closed_stub_retention_ms


def _uuid8(name: bytes) -> str:
    """Return a UUID of version 8 (custom content): 122 bits of XXH3-128 over a name. About 0.4 us, UUIDv5 1.4."""
    h = xxh3_128_hexdigest(name)
    return f"{h[:8]}-{h[8:12]}-8{h[13:16]}-{_VARIANT[h[16]]}{h[17:20]}-{h[20:]}"
