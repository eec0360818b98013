"""Reads a request's body within a limit, plain or gzip, without ever holding more than the limit."""

import zlib
from typing import Final

from aiohttp import web

from tracker.errors import RejectedError

_READ_BYTES: Final = 65_536
_GZIP_WINDOW_BITS: Final = 31


class BodyTooLargeError(RejectedError):
    """The body, unpacked, is larger than the limit."""


class BadEncodingError(RejectedError):
    """The body is not in the encoding that its headers say."""


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """Return the request's body, unpacked.

    Raises:
        BodyTooLargeError: as soon as more than ``max_bytes`` have come out.
        BadEncodingError: if the encoding is unknown, or the gzip is broken or cut off.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip"}:
        raise BadEncodingError(f"Content-Encoding {encoding} is not known; gzip is")
    unpack = zlib.decompressobj(_GZIP_WINDOW_BITS) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in request.content.iter_chunked(_READ_BYTES):
        body += chunk if unpack is None else _unpack(unpack, chunk, max_bytes - len(body) + 1)
        if len(body) > max_bytes:
            raise BodyTooLargeError(f"the body has more than {max_bytes} bytes, unpacked")
    if unpack is not None and (not unpack.eof or unpack.unused_data):
        raise BadEncodingError("the gzip is cut off, or something follows its end")
    return bytes(body)


def _unpack(unpack: "zlib._Decompress", chunk: bytes, max_bytes: int) -> bytes:
    if unpack.eof:
        raise BadEncodingError("something follows the gzip's end")
    try:
        return unpack.decompress(chunk, max_bytes)
    except zlib.error as error:
        raise BadEncodingError(f"not gzip: {error}") from None
