"""Reads a JSON document that is one long array, element by element, in bounded pieces. Many APIs answer so."""

import io
import json
from collections.abc import Iterator
from typing import IO, Any, Final, NamedTuple

from tracker.errors import ConfigurationError

#: Characters that are read at once.
CHUNK_CHARS: Final = 1_048_576
#: The longest element. A visit with a thousand actions has about 1 MB.
ELEMENT_MAX_CHARS: Final = 16 * CHUNK_CHARS

_BETWEEN: Final = " \t\r\n,"
_decode = json.JSONDecoder().raw_decode


class Element(NamedTuple):
    """An element of the array: its number from 1, its value, and its text."""

    number: int
    value: Any
    text: str


def begins_array(file: IO[bytes]) -> bool:
    """Return whether the first character of a file, which is not read yet, begins an array."""
    peek = getattr(file, "peek", None)
    return peek is not None and peek(CHUNK_CHARS).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def read_array(name: str, file: IO[bytes]) -> Iterator[Element]:
    """Yield the elements of an array.

    Raises:
        ConfigurationError: it is no JSON. The elements before the mistake have been yielded.
    """
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape")
    buffer = text.read(CHUNK_CHARS).lstrip()[1:]
    number = 0
    while True:
        buffer = buffer.lstrip(_BETWEEN)
        at = 0
        while at < len(buffer) and buffer[at] != "]":
            try:
                value, end = _decode(buffer, at)
            except ValueError:
                break
            # A number at the end of the buffer may go on in the next piece.
            if end == len(buffer):
                break
            number += 1
            yield Element(number, value, buffer[at:end])
            at = end
            while at < len(buffer) and buffer[at] in _BETWEEN:
                at += 1
        if buffer[at : at + 1] == "]":
            return
        buffer = buffer[at:]
        more = text.read(CHUNK_CHARS)
        if not more or len(buffer) > ELEMENT_MAX_CHARS:
            raise ConfigurationError(f"{name} is no JSON array: element {number + 1} can't be read, or has no end")
        buffer += more
