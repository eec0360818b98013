"""From a request's body to the JSON object in it: media type, unpacked size and depth have limits."""

import base64
import zlib
from typing import Any, Final

import orjson

from tracker.collect.errors import RequestError

#: An event has a depth of 1, a batch of events 3. The rest is room for the error to name the field instead.
MAX_JSON_DEPTH: Final = 16

#: sendBeacon and simple cross-origin posts can only say text/plain.
_MEDIA_TYPES: Final = frozenset({"application/json", "text/plain"})
#: zlib's window sizes: 31 is gzip with its header, 15 zlib's own (what HTTP calls deflate).
_WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def check_media_type(content_type: str | None) -> None:
    """Refuse bodies that don't claim to be JSON or plain text; without a header a body is taken as JSON."""
    if content_type is None or content_type in _MEDIA_TYPES:
        return
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise RequestError("unsupported_media_type", "send application/json (or text/plain that holds JSON)")


def unpack(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """Return the body without its content encoding. Never holds more than ``limit_bytes`` of it.

    Raises:
        RequestError: ``oversized``; ``bad_request`` if the body is not encoded as its header says;
            ``unsupported_media_type``.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise RequestError("unsupported_media_type", "send gzip, deflate or no Content-Encoding")
    unpacker = zlib.decompressobj(bits)
    try:
        unpacked = unpacker.decompress(body, limit_bytes + 1)
    except zlib.error:
        raise RequestError("bad_request", "the body is not encoded as its headers say") from None
    if len(unpacked) > limit_bytes:
        raise RequestError("oversized", f"the unpacked body is larger than {limit_bytes} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise RequestError("bad_request", "the body is not encoded as its headers say")
    return unpacked


def from_base64url(text: str | None) -> bytes:
    """Decode the pixel's query field ``d``: base64url, with or without its padding.

    Raises:
        RequestError: ``bad_request``, if it is missing or is not base64url.
    """
    if not text:
        raise RequestError("bad_request", "d: must be an event's JSON as base64url")
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), b"-_", validate=True)
    except ValueError:
        raise RequestError("bad_request", "d: must be an event's JSON as base64url") from None


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse JSON that has to be an object, not nested too deeply."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The decoder's message has a position and no content.
        raise RequestError("not_json", "the body is not JSON in UTF-8", reasons=[str(error)]) from None
    if not isinstance(fields, dict):
        raise RequestError("invalid", "the body must be a JSON object")
    _check_depth(body, fields)
    return fields


def _check_depth(body: bytes, fields: dict[str, Any]) -> None:
    # Counting brackets is enough for nearly all bodies. The events of a batch are not nested in each other, so all of
    # them together are one level.
    brackets = body.count(b"{") + body.count(b"[")
    if brackets <= MAX_JSON_DEPTH:
        return
    batch = fields.get("batch")
    if isinstance(batch, list) and brackets - sum(isinstance(event, dict) for event in batch) < MAX_JSON_DEPTH:
        return
    level: list[Any] = [fields]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise RequestError("invalid", f"the JSON is nested more deeply than {MAX_JSON_DEPTH}")
