"""The keys of the session table: one row a session, and pages of older event ids.

A source record's key is the session id, whatever its workspace. The table's row under that very key is the session of
the key's *home* workspace; every other workspace has a row of its own under the key and its name. A session id holds no
control characters, so they can separate.
"""

from typing import Final

_SEPARATOR: Final = b"\x00"
#: Keys that begin like this hold notes beside the sessions: the watermark, the local position, pages.
META_PREFIX: Final = b"\x00"
_PAGE_PREFIX: Final = META_PREFIX + b"page" + _SEPARATOR
_PAGE_NUMBER_BYTES: Final = 8


def row_key(session_key: bytes, workspace_id: str) -> bytes:
    """Return the key of the row of a workspace other than the session key's home."""
    return session_key + _SEPARATOR + workspace_id.encode()


def session_key(row: bytes) -> bytes:
    """Return the session key that a row's key begins with."""
    return row.partition(_SEPARATOR)[0]


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
