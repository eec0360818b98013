"""What both clients offer: each call makes an item. How it travels is theirs."""

import asyncio
import atexit
import logging
import os
import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self, TypedDict, Unpack, overload

from event_tracker_client.fields import EventFields, EventType, SessionFields
from event_tracker_client.ids import new_id
from event_tracker_client.items import Code, Kind, Undelivered, canonical, iso_time, well_formed

log = logging.getLogger("event_tracker_client")

#: Hears of each item that is given up. Called from the client's thread, or from the call that was refused.
OnError = Callable[[Undelivered], None]

#: Reports of each code that are logged one by one.
_LOGGED_EACH: Final = 10
#: Fields that the API has as JSON text only.
_JSON_TEXTS: Final = ("user_traits",)


class OwnEvent(TypedDict):
    """An event of your own type, as the functions that ``tracker schemas build`` generates return it."""

    event_type: str
    schema: str
    properties: Mapping[str, object]


class TrackerClient(ABC):
    """A client of the tracker. Its methods never wait for the network, but for ``flush`` and ``close``.

    None of them raises because of what it is given or what the network does: an item that can't be delivered is
    logged, counted and handed to ``on_error``. A client is safe for threads, and made anew in forked processes.
    """

    def __init__(self, *, workspace_id: str | None, on_error: OnError | None, exit_timeout_ms: int) -> None:
        self._workspace_id = workspace_id
        self._on_error = on_error
        self._exit_timeout_ms = exit_timeout_ms
        self._given_up: dict[Code, int] = {}
        self._begin()
        _clients.add(self)

    # -- Telling what happened --------------------------------------------------------------------------------------

    def init_session(self, session_id: str | None = None, **context: Unpack[SessionFields]) -> str:
        """Open a session, or add to the context of an open one; its events need not repeat it.

        Args:
            session_id: 1 to 128 characters without white space; default: a new UUIDv7.
            **context: ``user_id``, ``campaign_id``, ``ab_test_variant_id``, ``timeout_seconds`` …

        Returns:
            The session's id.
        """
        if session_id is None:
            session_id = new_id()
        self._accept("session", session_id, None, dict(context))
        return session_id

    @overload
    def track(self, session_id: str, event_type: EventType, **fields: Unpack[EventFields]) -> str: ...

    @overload
    def track(
        self,
        session_id: str,
        event_type: str,
        *,
        schema: str,
        properties: Mapping[str, object],
        **fields: Unpack[EventFields],
    ) -> str: ...

    def track(self, session_id: str, event_type: str, **fields: Any) -> str:
        """Tell of an event.

        Args:
            session_id: Whose event it is. A session that is not open is opened.
            event_type: One of the plan's, or of your own; those have ``schema``, their version, and ``properties``.
            **fields: What is known of it. With ``passive=True`` it prolongs no session.

        Returns:
            Its ``event_id``.
        """
        event_id = fields["event_id"] = fields.get("event_id") or new_id()
        self._accept("event", session_id, event_id, {"event_type": event_type, **fields})
        return str(event_id)

    def identify(self, session_id: str, user_id: str, traits: Mapping[str, object] | None = None) -> None:
        """Say whose session it is, and what is known of the user: at most 1,024 characters of JSON."""
        known = {} if traits is None else {"user_traits": traits}
        self._accept("session", session_id, None, {"user_id": user_id, **known})

    def end_session(self, session_id: str) -> None:
        """Close a session behind what was told of it so far. The next event opens another one."""
        self._accept("expire", session_id, None, {})

    def flush_session(self, session_id: str) -> None:
        """Have what was told of a session so far shipped to the tables without waiting for a full batch there."""
        self._accept("flush", session_id, None, {})

    # -- The end ----------------------------------------------------------------------------------------------------

    @abstractmethod
    def flush(self, timeout_ms: int | None = None) -> int:
        """Send what waits, and wait until it is delivered or given up; return how many items still wait."""

    def close(self, timeout_ms: int | None = None) -> int:
        """Deliver what waits, and end. What is told afterwards is not delivered.

        Args:
            timeout_ms: How long it may take; default: ``exit_timeout_ms``.

        Returns:
            How many items were not delivered in time. Each was handed to ``on_error``.
        """
        _clients.discard(self)
        rest = self._end(self._exit_timeout_ms if timeout_ms is None else timeout_ms)
        if rest:
            log.warning("%d items were not delivered to the tracker before its client was closed", rest)
        return rest

    async def aflush(self, timeout_ms: int | None = None) -> int:
        """Do as ``flush`` without blocking the event loop."""
        return await asyncio.to_thread(self.flush, timeout_ms)

    async def aclose(self, timeout_ms: int | None = None) -> int:
        """Do as ``close`` without blocking the event loop."""
        return await asyncio.to_thread(self.close, timeout_ms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- How it goes ------------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def waiting(self) -> int:
        """Items that have no answer yet."""

    @property
    @abstractmethod
    def delivered(self) -> int:
        """Items that were taken."""

    @property
    def given_up(self) -> Mapping[Code, int]:
        """Items that were not delivered, by the code that says why."""
        with self._lock:
            return dict(self._given_up)

    # -- For the clients --------------------------------------------------------------------------------------------

    @abstractmethod
    def _accept(self, kind: Kind, session_id: str, event_id: str | None, fields: dict[str, Any]) -> None:
        """Make an item and queue it."""

    @abstractmethod
    def _end(self, timeout_ms: int) -> int:
        """Deliver what waits, and end; return how many items were not delivered."""

    @abstractmethod
    def _begin_anew(self) -> None:
        """Begin without a thread and with an empty queue, as a forked process has to."""

    def _begin(self) -> None:
        self._lock = threading.Lock()

    def _after_fork(self) -> None:
        self._begin()
        self._begin_anew()

    def _report(self, given_up: Sequence[Undelivered]) -> None:
        """Count, log and hand on what is given up. A callback that raises harms nobody."""
        first = given_up[0]
        with self._lock:
            before = self._given_up.get(first.code, 0)
            for item in given_up:
                self._given_up[item.code] = self._given_up.get(item.code, 0) + 1
            total = self._given_up[first.code]
        # The first ones, and then whenever the count has another digit.
        if before < _LOGGED_EACH or len(str(total)) > len(str(before)):
            log.warning(
                "not delivered to the tracker: items: %d (%s, %d so far), kind of the first: %s, because of: %s",
                len(given_up), first.code, total, first.kind, "; ".join(first.reasons),
            )  # fmt: skip
        if self._on_error is None:
            return
        for item in given_up:
            try:
                self._on_error(item)
            except Exception:
                log.exception("on_error has raised")


def checked_session_id(session_id: Any) -> str:
    """Return a session id that has a form in UTF-8.

    Raises:
        TypeError: it is not a text.
    """
    if not isinstance(session_id, str):
        raise TypeError(f"session_id: must be a text, not a {type(session_id).__name__}")
    return well_formed(session_id)


def set_time(fields: dict[str, Any]) -> None:
    """Have the fields say when it happened: now, unless they do. Anything but a time is for the tracker to refuse."""
    time = fields.get("timestamp")
    if time is None or isinstance(time, datetime):
        fields["timestamp"] = iso_time(time)


def as_json_texts(fields: dict[str, Any]) -> None:
    """Turn the objects that the API has as text into JSON, the same whatever the order of their keys.

    Raises:
        ValueError: a value is not finite.
        TypeError: JSON has no form for a value.
    """
    for name in _JSON_TEXTS:
        value = fields.get(name)
        if value is not None and not isinstance(value, str):
            fields[name] = canonical(value)


_clients: "weakref.WeakSet[TrackerClient]" = weakref.WeakSet()


def _close_all() -> None:
    for client in list(_clients):
        client.close()


def _begin_all_anew() -> None:
    for client in list(_clients):
        client._after_fork()  # noqa: SLF001 - the same module


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all_anew)
