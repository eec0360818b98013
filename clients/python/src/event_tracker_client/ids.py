"""Draws ids."""

import os
import time

_RANDOM_BYTES = 10


def new_id() -> str:
    """Return a UUIDv7: 48 bits of the time in milliseconds, 74 random ones. It sorts by its time of birth."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(_RANDOM_BYTES), "big")
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
