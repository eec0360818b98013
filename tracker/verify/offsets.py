"""A set of offsets of one partition, a bit each: those of a log of a billion records take 125 MB."""


class Offsets:
    """Offsets, added in any order at or after the first one."""

    __slots__ = ("_base", "_bits")

    def __init__(self) -> None:
        self._base = -1
        self._bits = bytearray()

    @property
    def first(self) -> int | None:
        """The offset that was added first, or None."""
        return None if self._base < 0 else self._base

    def add(self, offset: int) -> None:
        """Add an offset; one before the first is left out."""
        if self._base < 0:
            self._base = offset
        at = offset - self._base
        if at < 0:
            return
        byte = at >> 3
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1024 - len(self._bits)))
        self._bits[byte] |= 1 << (at & 7)

    def __contains__(self, offset: int) -> bool:
        at = offset - self._base
        return self._base >= 0 and 0 <= at < 8 * len(self._bits) and bool(self._bits[at >> 3] & (1 << (at & 7)))
