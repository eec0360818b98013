"""How states and watermarks are written down, in the layouts of the last two releases.

A value is 8 bytes of the last source offset applied, big-endian; one byte that names the layout; then MessagePack. The
offset comes first because everyone who reads the changelog merges by it (``wins``) without decoding the rest.

    layout   release   format
    2        0.1.0     no layout byte: MessagePack's array follows the offset, and its first byte is 0x90 or more
    3        0.2.0     event ids with their contents, pages of older ones, a row for each workspace of a key

Both are read; which one is written is a rule (``Rules.layout``), so that a group of workers can be upgraded one by one.
"""

from typing import Final

import msgspec

from tracker.errors import ConfigurationError
from tracker.sessions.keys import META_PREFIX
from tracker.sessions.memory import from_layout_2, to_layout_2
from tracker.sessions.state import Lifetime, SessionState, UsageMark, Watermark

LAYOUT: Final = 3
#: Every layout that is read.
READABLE: Final = frozenset({2, LAYOUT})
OFFSET_BYTES: Final = 8
#: Where MessagePack begins, from layout 3 on.
_BODY_AT: Final = OFFSET_BYTES + 1
_LAYOUT_BYTE: Final = bytes([LAYOUT])
#: The first byte of a MessagePack array; a layout number is less.
_FIRST_ARRAY_BYTE: Final = 0x90

#: The key of the watermark's row.
WATERMARK_KEY: Final = META_PREFIX + b"watermark"
#: The key of the row of counts that were not put out yet.
USAGE_KEY: Final = META_PREFIX + b"usage"


class UnknownLayoutError(ConfigurationError):
    """A later release wrote this value: it is not read, rather than without the fields that are not known here."""

    def __init__(self, layout: int) -> None:
        known = " and ".join(map(str, sorted(READABLE)))
        super().__init__(
            f"the changelog holds states of layout {layout}, written by a later release; this one reads {known}: "
            "run that later release again"
        )


class _Lifetime2(msgspec.Struct, array_like=True, kw_only=True):
    session_id: str
    ordinal: int
    created_ms: int
    last_activity_ms: int
    timeout_ms: int
    sequence: int = 0
    closed_ms: int = 0
    close_reason: str = ""


class _Watermark2(msgspec.Struct, array_like=True, kw_only=True):
    stream_time_ms: int
    layout: int
    forwarded: dict[int, int]


class _State2(_Lifetime2, array_like=True, kw_only=True):
    context: dict[str, str] = msgspec.field(default_factory=dict)
    recent: bytes = b""
    visitor: dict[str, str | bool] = msgspec.field(default_factory=dict)


_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(SessionState).decode
_decode_lifetime = msgspec.msgpack.Decoder(Lifetime).decode
_decode_watermark = msgspec.msgpack.Decoder(Watermark).decode
_decode_usage = msgspec.msgpack.Decoder(UsageMark).decode
_decode_state_2 = msgspec.msgpack.Decoder(_State2).decode
_decode_lifetime_2 = msgspec.msgpack.Decoder(_Lifetime2).decode


def offset_of(value: bytes) -> int:
    """Return the source offset that an encoded value carries."""
    return int.from_bytes(value[:OFFSET_BYTES], "big")


def wins(challenger_offset: int, holder: bytes | None) -> bool:
    """Return whether a version at this source offset replaces the encoded one that is held: the highest offset wins.

    A woken zombie's writes are stale, but they come last. "Last write wins" would let them replace newer states; the
    offset that each version carries does not. Merging so is commutative and idempotent: it does not matter who reads a
    stretch of the changelog, how often, or in which pieces. A removal leaves no offset to compare with: there the log's
    order counts, and for the time of the compaction lag the forgotten state that comes before it.
    """
    return holder is None or challenger_offset >= offset_of(holder)


def layout_of(value: bytes) -> int:
    """Return the layout in which a state or a watermark is written."""
    first = value[OFFSET_BYTES]
    return 2 if first >= _FIRST_ARRAY_BYTE else first


def encode_state(offset: int, state: SessionState, layout: int = LAYOUT) -> bytes:
    """Serialise a state together with the last source offset applied to it. About 1 us."""
    if layout == LAYOUT:
        return offset.to_bytes(OFFSET_BYTES, "big") + _LAYOUT_BYTE + _encode(state)
    return offset.to_bytes(OFFSET_BYTES, "big") + _encode(_as_layout_2(state))


def decode_state(value: bytes) -> SessionState:
    """Read a state back; its offset is read by ``offset_of``.

    Raises:
        UnknownLayoutError: a later release wrote it.
        msgspec.DecodeError: the bytes are no state.
    """
    if value[OFFSET_BYTES] == LAYOUT:
        return _decode_state(memoryview(value)[_BODY_AT:])
    require_readable(value)
    return _from_layout_2(_decode_state_2(memoryview(value)[OFFSET_BYTES:]))


def decode_lifetime(value: bytes) -> Lifetime:
    """Decode only the fields that determine the deadline. Raises what ``decode_state`` raises."""
    if value[OFFSET_BYTES] == LAYOUT:
        return _decode_lifetime(memoryview(value)[_BODY_AT:])
    require_readable(value)
    old = _decode_lifetime_2(memoryview(value)[OFFSET_BYTES:])
    # The event ids are not read here: maybe there are some. A deadline may be early, never late.
    return Lifetime(**msgspec.structs.asdict(old), remembered_ms=old.last_activity_ms)


def encode_page(offset: int, content: bytes) -> bytes:
    """Write a page of event ids down, with the source offset that filled it. Pages have no layout byte."""
    return offset.to_bytes(OFFSET_BYTES, "big") + content


def decode_page(value: bytes) -> bytes:
    """Read the content of a page back."""
    return value[OFFSET_BYTES:]


def encode_watermark(offset: int, watermark: Watermark) -> bytes:
    """Serialise W, the last source offset folded, with the partition's stream time, in the watermark's own layout."""
    if watermark.layout == LAYOUT:
        return offset.to_bytes(OFFSET_BYTES, "big") + _LAYOUT_BYTE + _encode(watermark)
    fields = {name: getattr(watermark, name) for name in _Watermark2.__struct_fields__}
    return offset.to_bytes(OFFSET_BYTES, "big") + _encode(_Watermark2(**fields))


def decode_watermark(value: bytes) -> Watermark:
    """Read a watermark back; W itself is read by ``offset_of``. Raises what ``decode_state`` raises."""
    if value[OFFSET_BYTES] == LAYOUT:
        return _decode_watermark(memoryview(value)[_BODY_AT:])
    require_readable(value)
    return _decode_watermark(memoryview(value)[OFFSET_BYTES:])


def encode_usage(offset: int, mark: UsageMark) -> bytes:
    """Serialise the counts of usage with the last source offset counted. They have been written from layout 3 on."""
    return offset.to_bytes(OFFSET_BYTES, "big") + _LAYOUT_BYTE + _encode(mark)


def decode_usage(value: bytes) -> UsageMark:
    """Read the counts of usage back; their offset is read by ``offset_of``."""
    return _decode_usage(memoryview(value)[_BODY_AT:])


def require_readable(value: bytes) -> None:
    """Look at the layout of a state or a watermark.

    Raises:
        UnknownLayoutError: a later release wrote it.
    """
    if (layout := layout_of(value)) not in READABLE:
        raise UnknownLayoutError(layout)


def _as_layout_2(state: SessionState) -> _State2:
    fields = {name: getattr(state, name) for name in _State2.__struct_fields__}
    return _State2(**{**fields, "recent": to_layout_2(state.recent)})


def _from_layout_2(old: _State2) -> SessionState:
    fields = msgspec.structs.asdict(old)
    remembered_ms = old.last_activity_ms if old.recent else 0
    return SessionState(**{**fields, "recent": from_layout_2(old.recent)}, remembered_ms=remembered_ms)
