"""The client over HTTP."""

import random
import ssl
import time
import zlib
from collections.abc import Mapping
from typing import Any, Final, Unpack

from event_tracker_client.api import OnError, TrackerClient, as_json_texts, checked_session_id, set_time
from event_tracker_client.connection import Connection
from event_tracker_client.fields import SessionFields
from event_tracker_client.ids import new_id
from event_tracker_client.items import Item, Kind, encode
from event_tracker_client.lane import Lane
from event_tracker_client.outbox import Limits
from event_tracker_client.version import VERSION

MAX_CONNECTIONS: Final = 64
_WITH_BODY: Final = frozenset({"event", "session"})
#: Of a visitor's header. No browser's own is longer.
_MAX_HEADER_CHARS: Final = 1_024


class Client(TrackerClient):
    """Sends events to a collector, in batches and in the background.

    What was told of a session arrives in the order in which it was told. An item is sent again, unchanged and with the
    same ``event_id``, until the collector has taken it or ``limits.retry_budget_ms`` is over: it counts once.

    >>> with Client("https://collect.example.com", "THE-SECRET-KEY") as client:
    ...     session_id = client.init_session(user_id="u1", campaign_id="spring")
    ...     client.track(session_id, "conversion", event_value="49.90", event_value_type="EUR")
    """

    def __init__(
        self,
        url: str,
        write_key: str | None = None,
        *,
        workspace_id: str | None = None,
        on_error: OnError | None = None,
        limits: Limits | None = None,
        connections: int = 1,
        request_timeout_ms: int = 10_000,
        exit_timeout_ms: int = 5_000,
        wait_when_full_ms: int = 0,
        use_gzip: bool = True,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: The collector's address; it may have a path in front of the API's.
            write_key: A key with the scope ``secret``, made for this service. It is sent in a header and never logged.
            workspace_id: For a collector without keys; with a key it is the key's.
            on_error: Hears of each item that is given up.
            limits: Of each connection's queue, and for how long it tries.
            connections: Each has a queue and a thread. A session stays with one of them, so its order is kept.
            request_timeout_ms: How long the network may be silent in a request.
            exit_timeout_ms: How long ``close`` waits by default, also at the end of the process.
            wait_when_full_ms: How long a call may wait for room in a full queue; 0: the item is dropped at once.
            use_gzip: Compress bodies of 1 KiB and more.
            ssl_context: Default: the system's certificates.

        Raises:
            ValueError: an argument is out of its range. The text does not repeat the key.
        """
        if write_key is not None and not (write_key.isascii() and write_key.isprintable()):
            raise ValueError("write_key: has characters that no key has")
        if not 1 <= connections <= MAX_CONNECTIONS:
            raise ValueError(f"connections: must be from 1 to {MAX_CONNECTIONS}")
        headers = {"User-Agent": f"event-tracker-client-py/{VERSION}"}
        if write_key is not None:
            headers["X-Write-Key"] = write_key
        self._url = url
        self._lanes = [
            Lane(
                limits or Limits(),
                Connection(url, headers, timeout_ms=request_timeout_ms, use_gzip=use_gzip, ssl_context=ssl_context),
                self._report,
                random.random,
                wait_when_full_ms=wait_when_full_ms,
            )
            for _ in range(connections)
        ]
        super().__init__(workspace_id=workspace_id, on_error=on_error, exit_timeout_ms=exit_timeout_ms)

    def __repr__(self) -> str:
        return f"Client({self._url!r}, waiting={self.waiting})"

    def init_session(
        self,
        session_id: str | None = None,
        *,
        user_agent: str = "",
        accept_language: str = "",
        ip: str = "",
        **context: Unpack[SessionFields],
    ) -> str:
        """Open a session, or add to the context of an open one; its events need not repeat it.

        Args:
            session_id: 1 to 128 characters without white space; default: a new UUIDv7.
            user_agent: The visitor's header, from which the collector tells browser, system and device. It is used
                together with ``page_url``, and where the key's ``enrich`` is true.
            accept_language: The visitor's header.
            ip: The visitor's address; used where the service is one of the collector's trusted proxies.
            **context: ``user_id``, ``campaign_id``, ``ab_test_variant_id``, ``page_url``, ``timeout_seconds`` …

        Returns:
            The session's id.
        """
        if session_id is None:
            session_id = new_id()
        visitor = {"User-Agent": user_agent, "Accept-Language": accept_language, "X-Forwarded-For": ip}
        headers = {name: _header_text(value) for name, value in visitor.items() if value}
        self._accept("session", session_id, None, dict(context), headers)
        return session_id

    def flush(self, timeout_ms: int | None = None) -> int:
        """Send what waits, and wait until it is delivered or given up; return how many items still wait."""
        deadline = None if timeout_ms is None else time.monotonic() + timeout_ms / 1_000
        numbers = [lane.begin_flush() for lane in self._lanes]
        for lane, number in zip(self._lanes, numbers, strict=True):
            lane.wait(number, deadline)
        return self.waiting

    @property
    def waiting(self) -> int:
        """Items that have no answer yet."""
        return sum(lane.waiting for lane in self._lanes)

    @property
    def delivered(self) -> int:
        """Items that were taken."""
        return sum(lane.delivered for lane in self._lanes)

    def _accept(
        self,
        kind: Kind,
        session_id: str,
        event_id: str | None,
        fields: dict[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        try:
            session_id = checked_session_id(session_id)
            body = self._encode(session_id, fields) if kind in _WITH_BODY else b"{}"
        except (ValueError, TypeError) as error:
            self._report([Item(kind, session_id, event_id, b"", 0).undelivered("rejected", str(error))])
            return
        lane = self._lanes[zlib.crc32(session_id.encode()) % len(self._lanes)]
        now_ms = lane.now_ms()
        lane.put(Item(kind, session_id, event_id, body, now_ms, headers or {}))

    def _encode(self, session_id: str, fields: dict[str, Any]) -> bytes:
        fields = {"session_id": session_id, **fields}
        if self._workspace_id is not None:
            fields.setdefault("workspace_id", self._workspace_id)
        set_time(fields)
        as_json_texts(fields)
        return encode(fields)

    def _end(self, timeout_ms: int) -> int:
        for lane in self._lanes:
            lane.hurry()
        self.flush(timeout_ms)
        return sum(lane.close() for lane in self._lanes)

    def _begin_anew(self) -> None:
        for lane in self._lanes:
            lane.after_fork()


def _header_text(value: str) -> str:
    """Return a visitor's header as one that can be sent, whatever it holds."""
    text = value.encode("latin-1", "replace").decode("latin-1")
    return "".join(char if char.isprintable() else " " for char in text)[:_MAX_HEADER_CHARS]
