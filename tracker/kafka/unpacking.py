"""Unpacks what producers and brokers compress: every codec of Kafka, piece by piece, so that no batch fills the memory.

A batch is limited by its packed size. A megabyte that zstd has packed can unpack to gigabytes of zeros, and every
producer of a topic may write one.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import cramjam
import lz4.frame
import zstandard

from tracker.errors import RejectedError

#: How much comes out at a time, about.
PIECE_BYTES: Final = 1_048_576
#: Snappy makes at most 64 bytes of each 3; a block that claims more than this many times its size is broken.
SNAPPY_MAX_RATIO: Final = 64
_GZIP_WBITS: Final = 31
#: The stream format of snappy's Java library: a header of 16 bytes, then blocks, each behind its size.
_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES: Final = 16
_BLOCK_SIZE: Final = struct.Struct(">i")


class BrokenPackingError(RejectedError):
    """The bytes are not in the format of their codec. Brokers unpack batches before they store them: this is rare."""


def unpack(codec: int, packed: memoryview) -> Iterator[bytes]:
    """Yield the unpacked bytes, in pieces.

    Args:
        codec: Kafka's number of it: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
        packed: The packed bytes.

    Raises:
        BrokenPackingError: the bytes are not in this codec's format, or the codec is unknown.
    """
    unpacker = _UNPACKERS.get(codec)
    if unpacker is None:
        raise BrokenPackingError(f"unknown codec {codec}")
    try:
        yield from unpacker(packed)
    except (zlib.error, RuntimeError, zstandard.ZstdError, cramjam.DecompressionError, struct.error) as error:
        raise BrokenPackingError(str(error)) from error


def _plain(packed: memoryview) -> Iterator[bytes]:
    yield bytes(packed)


def _gzip(packed: memoryview) -> Iterator[bytes]:
    left = bytes(packed)
    while left:
        member = zlib.decompressobj(_GZIP_WBITS)
        while not member.eof:
            piece = member.decompress(left, PIECE_BYTES)
            left = member.unconsumed_tail
            if not piece and not left and not member.eof:
                raise BrokenPackingError("the gzip is cut off")
            yield piece
        left = member.unused_data


def _snappy(packed: memoryview) -> Iterator[bytes]:
    if bytes(packed[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        yield _snappy_block(packed)
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(packed):
        (size,) = _BLOCK_SIZE.unpack_from(packed, at)
        at += _BLOCK_SIZE.size
        if not 0 <= size <= len(packed) - at:
            raise BrokenPackingError(f"a snappy block of {size} bytes where {len(packed) - at} are left")
        yield _snappy_block(packed[at : at + size])
        at += size


def _snappy_block(block: memoryview) -> bytes:
    raw = bytes(block)
    if cramjam.snappy.decompress_raw_len(raw) > SNAPPY_MAX_RATIO * len(raw):
        raise BrokenPackingError("a snappy block claims more than it can hold")
    return bytes(cramjam.snappy.decompress_raw(raw))


def _lz4(packed: memoryview) -> Iterator[bytes]:
    frame = lz4.frame.LZ4FrameDecompressor()
    yield frame.decompress(bytes(packed), max_length=PIECE_BYTES)
    while not frame.eof:
        piece = frame.decompress(b"", max_length=PIECE_BYTES)
        if not piece and not frame.eof:
            raise BrokenPackingError("the lz4 is cut off")
        yield piece


def _zstd(packed: memoryview) -> Iterator[bytes]:
    yield from zstandard.ZstdDecompressor().read_to_iter(bytes(packed), write_size=PIECE_BYTES)


_UNPACKERS: Final[dict[int, Callable[[memoryview], Iterator[bytes]]]] = {
    0: _plain,
    1: _gzip,
    2: _snappy,
    3: _lz4,
    4: _zstd,
}
