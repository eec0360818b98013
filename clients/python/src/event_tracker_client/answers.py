"""What an answer of the collector means for the items of its request. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal

#: A ``Retry-After`` that says more is cut to this.
MAX_RETRY_AFTER_MS: Final = 300_000

_ACCEPTED: Final = 202
_TOO_LARGE: Final = 413
#: Answers about the content: the same again is answered the same. Everything else may be different next time, a key
#: that is not known yet and an address that a proxy does not have yet, too.
_FINAL: Final = frozenset({400, _TOO_LARGE, 422})
_FORBIDDEN: Final = 403
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, or why there was none."""

    status: int | None
    fields: Mapping[str, Any] = field(default_factory=dict)
    retry_after_ms: int = 0
    #: Why there was no answer.
    error: str = ""

    @property
    def reason(self) -> str:
        """What people should know of it, in a line. Nothing of the request is in it."""
        if self.status is None:
            return self.error
        error = self.fields.get("error")
        if not isinstance(error, Mapping):
            return f"HTTP {self.status}"
        return f"HTTP {self.status} {error.get('code')}: {error.get('message')}"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The collector's reasons for a refusal."""
        error = self.fields.get("error")
        said = error.get("reasons") if isinstance(error, Mapping) else None
        return tuple(map(str, said)) if isinstance(said, list) and said else (self.reason,)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the items of a request.

    ``settled``: each was taken, or has reasons why not. ``split``: the request as a whole is refused, one of its items
    may be the cause. ``retry``: send the same again.
    """

    outcome: Literal["settled", "split", "retry"]
    #: For each item: empty if it was taken.
    reasons: Sequence[tuple[str, ...]] = ()


def read_answer(status: int, retry_after: str | None, body: bytes, now: datetime | None = None) -> Answer:
    """Return an answer as it came; a body that is not a JSON object counts as empty."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    return Answer(status, fields if isinstance(fields, dict) else {}, retry_after_ms(retry_after, now))


def retry_after_ms(value: str | None, now: datetime | None = None) -> int:
    """Return how long a ``Retry-After`` asks to wait: seconds or a date. 0 if it says nothing that makes sense."""
    if value is None:
        return 0
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:9]) * 1_000, MAX_RETRY_AFTER_MS)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return 0
    wait = date.astimezone(UTC) - (now or datetime.now(UTC))
    return max(0, min(int(wait.total_seconds() * 1_000), MAX_RETRY_AFTER_MS))


def judge(answer: Answer, items: int, *, is_batch: bool) -> Verdict:
    """Return what an answer means for a request with so many items."""
    results = _results(answer, items) if is_batch else None
    if results is not None and answer.status in {_ACCEPTED, 400}:
        return Verdict("settled", results)
    if answer.status == _ACCEPTED and not is_batch:
        return Verdict("settled", ((),))
    # A public key may not act on a session: no retry changes that.
    if answer.status in _FINAL or (answer.status == _FORBIDDEN and not is_batch):
        return Verdict("settled", (answer.reasons,)) if items == 1 else Verdict("split")
    return Verdict("retry")


def leaves_open(answer: Answer) -> bool:
    """Return whether the items may count although the answer does not say so."""
    return answer.status is None or answer.status >= _SERVER_ERROR or answer.status == _ACCEPTED


def is_oversized(answer: Answer) -> bool:
    """Return whether the body was larger than the collector takes."""
    return answer.status == _TOO_LARGE


def _results(answer: Answer, items: int) -> list[tuple[str, ...]] | None:
    """Return the verdict for each event of a batch, or None if there is not one for each."""
    results = answer.fields.get("results")
    if not isinstance(results, list) or len(results) != items:
        return None
    reasons: list[tuple[str, ...]] = []
    for result in results:
        if not isinstance(result, Mapping):
            return None
        said = result.get("reasons")
        told = tuple(map(str, said)) if isinstance(said, list) and said else ("no reason was given",)
        reasons.append(told if result.get("status") == "rejected" else ())
    return reasons
