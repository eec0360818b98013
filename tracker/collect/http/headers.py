"""Headers that come in several lines: lists are joined, a header that may have only one value is refused."""

from typing import Final

from multidict import CIMultiDictProxy

from tracker.collect.errors import RequestError

_NO_LINES: Final[list[str]] = []


def single(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """Return the value of a header that may come once; None if it is missing.

    Raises:
        RequestError: it comes in several lines. A proxy and we might each believe another one of them.
    """
    lines = headers.getall(name, _NO_LINES)
    if len(lines) > 1:
        raise RequestError("bad_request", f"the header {name} comes more than once")
    return lines[0] if lines else None


def joined(headers: CIMultiDictProxy[str], name: str, separator: str = ", ") -> str | None:
    """Return the value of a header that is a list, with all of its lines in order; None if it is missing."""
    lines = headers.getall(name, _NO_LINES)
    if len(lines) > 1:
        return separator.join(lines)
    return lines[0] if lines else None
