"""What is known of one session, and how it is written down.

A state is the value of a row of the session table: 8 bytes of the last source offset applied to it, big-endian, then
MessagePack. The offset comes first and by itself because everyone who reads the changelog merges by it
(``sessions.merge``) without decoding the rest.
"""

from typing import Final

import msgspec

from topics.session import CloseReason
from tracker.sessions.ids import FINGERPRINT_BYTES
from tracker.sessions.rules import Rules

#: Changes when the encoding below changes: local state of another layout is rebuilt, not trusted.
LAYOUT: Final = 2
OFFSET_BYTES: Final = 8


#: In place of a close reason: the key counts as unknown, and only the state's offset still matters.
FORGOTTEN: Final = "forgotten"


class Lifetime(msgspec.Struct, array_like=True, kw_only=True):
    """The beginning of a state: what says when it ends. Read alone, it costs a fraction of the whole."""

    session_id: str
    ordinal: int
    created_ms: int
    last_activity_ms: int
    timeout_ms: int
    sequence: int = 0
    closed_ms: int = 0
    close_reason: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the session still takes events."""
        return not self.close_reason

    def deadline_ms(self, rules: Rules) -> int:
        """Return the last millisecond at which it stays as it is: open, or as a closed stub."""
        if self.close_reason:
            is_forgotten = self.close_reason == FORGOTTEN
            return self.closed_ms + (rules.forgotten_retention_ms if is_forgotten else rules.closed_stub_retention_ms)
        return min(self.last_activity_ms + self.timeout_ms, self.created_ms + rules.max_length_ms)


class SessionState(Lifetime, array_like=True, kw_only=True):
    """One session, open or closed. Mutable: the fold touches it once per event, and nobody else holds it."""

    context: dict[str, str] = msgspec.field(default_factory=dict)
    recent: bytes = b""
    # New fields come last and have defaults, so that states in the changelog that lack them can be read.
    visitor: dict[str, str | bool] = msgspec.field(default_factory=dict)

    def touch(self, now_ms: int) -> None:
        """Note activity. It never moves backwards."""
        self.last_activity_ms = max(self.last_activity_ms, now_ms)

    @property
    def context_bytes(self) -> int:
        """The size of what was given once, visitor included, in bytes of UTF-8."""
        return sum(len(str(value).encode()) for value in (*self.context.values(), *self.visitor.values()))

    def has_seen(self, fingerprint: bytes) -> bool:
        """Return whether the event with this fingerprint is among those remembered. Costs a memchr over <= 1 KiB."""
        at = self.recent.find(fingerprint)
        while at >= 0 and at % FINGERPRINT_BYTES:
            at = self.recent.find(fingerprint, at + 1)
        return at >= 0

    def remember(self, fingerprint: bytes, window_events: int) -> None:
        """Remember an event id, and forget the oldest beyond the window."""
        self.recent = (self.recent + fingerprint)[-window_events * FINGERPRINT_BYTES :]

    def close(self, reason: CloseReason, closed_ms: int) -> None:
        """End the session. Once its last row is made, ``shrink`` leaves a small stub of it."""
        self.close_reason = reason
        self.closed_ms = closed_ms

    def shrink(self) -> None:
        """Forget what only an open session needs, and the rows that went out have; context stays for queries.

        A session that was cut while it was busy keeps its event ids: the retry of one of its events may be on its way.
        One that was cut at a cap keeps its visitor, too: the same batch may go on, and does not name it again.
        """
        if self.close_reason != "cap":
            self.visitor = {}
        if self.close_reason == "timeout":
            self.recent = b""


def forgotten(now_ms: int) -> SessionState:
    """Return what is left of a stub after its retention."""
    return SessionState(
        session_id="",
        ordinal=0,
        created_ms=0,
        last_activity_ms=0,
        timeout_ms=0,
        closed_ms=now_ms,
        close_reason=FORGOTTEN,
    )


class Watermark(msgspec.Struct, array_like=True, kw_only=True):
    """How far a partition's log has been folded. It lies in the changelog beside the states, under its own key.

    ``forwarded`` holds, for each partition that records were forwarded from, the last offset there that was taken.
    """

    stream_time_ms: int
    layout: int = LAYOUT
    forwarded: dict[int, int] = msgspec.field(default_factory=dict)


#: A session key can't hold control characters, so this one is free.
WATERMARK_KEY: Final = b"\x00watermark"

_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(SessionState).decode
_decode_lifetime = msgspec.msgpack.Decoder(Lifetime).decode
_decode_watermark = msgspec.msgpack.Decoder(Watermark).decode


def offset_of(value: bytes) -> int:
    """Return the source offset that an encoded state or watermark carries."""
    return int.from_bytes(value[:OFFSET_BYTES], "big")


def encode_state(offset: int, state: SessionState) -> bytes:
    """Serialise a state together with the last source offset applied to it. About 1 us."""
    return offset.to_bytes(OFFSET_BYTES, "big") + _encode(state)


def decode_state(value: bytes) -> SessionState:
    """Read a state back; its offset is read by ``offset_of``.

    Raises:
        msgspec.DecodeError: the bytes are no state of this layout.
    """
    return _decode_state(memoryview(value)[OFFSET_BYTES:])


def decode_lifetime(value: bytes) -> Lifetime:
    """Read of a state only when it ends."""
    return _decode_lifetime(memoryview(value)[OFFSET_BYTES:])


def encode_watermark(offset: int, watermark: Watermark) -> bytes:
    """Serialise W, the last source offset folded, with the partition's stream time."""
    return offset.to_bytes(OFFSET_BYTES, "big") + _encode(watermark)


def decode_watermark(value: bytes) -> Watermark:
    """Read a watermark back; W itself is read by ``offset_of``."""
    return _decode_watermark(memoryview(value)[OFFSET_BYTES:])
