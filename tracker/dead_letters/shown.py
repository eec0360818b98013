"""Raw bytes of strangers as text that does nothing to a terminal, and letters as values for people and machines."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from tracker.dead_letters.letters import StoredLetter

#: Of a value only this much is shown; ``export`` has it whole.
MAX_SHOWN_CHARS: Final = 20_000


def inert(text: str) -> str:
    """Return a text with all that a terminal would obey, or that turns its direction, written out as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def readable(raw: bytes | None) -> str:
    """Return raw bytes as a person can read them: JSON set out over lines, else text, with the rest escaped."""
    if raw is None:
        return "none"
    text = raw.decode("utf-8", "backslashreplace")
    lines = [text]
    with suppress(ValueError, RecursionError):  # no JSON: it is shown as it is
        lines = json.dumps(json.loads(text), indent=2, ensure_ascii=False).split("\n")
    shown = "\n".join(map(inert, lines))
    more = len(shown) - MAX_SHOWN_CHARS
    return f"{shown[:MAX_SHOWN_CHARS]} … and {more} characters more" if more > 0 else shown


def iso(milliseconds: int) -> str:
    """Return a time as ISO 8601; out of range, as the number that it is."""
    try:
        at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_value(stored: StoredLetter, *, raw: bool) -> dict[str, Any]:
    """Return a letter for a machine: where it lies, what became of it, all that it says, with or without raw bytes."""
    letter = stored.letter.model_dump(exclude=None if raw else {"key_base64", "value_base64", "headers_base64"})
    times = {
        name.removesuffix("_ms"): iso(letter[name])
        for name in ("source_timestamp_ms", "first_failed_at_ms", "last_failed_at_ms")
    }
    return {
        "letter": str(stored.place),
        "state": stored.state,
        **letter,
        **times,
        "attempts": stored.letter.attempts,
    }
