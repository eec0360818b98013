"""Takes personal data out of events before they go anywhere: Kafka, or the spill. Pure.

Off by default. Parameters of addresses are dropped or hashed by their names; e-mail addresses are hashed or removed
wherever they are in a text. A hash is keyed (HMAC-SHA-256), so that nobody without the secret can find an address by
hashing guesses; the same value always has the same hash, so that it can still be counted.
"""

import hmac
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal
from urllib.parse import unquote_plus

from tracker.errors import ConfigurationError

EmailPolicy = Literal["keep", "hash", "remove"]

MIN_SECRET_CHARS: Final = 16
HASH_CHARS: Final = 24
#: Stands where an e-mail address was; with a hash, its first part.
EMAIL_MARK: Final = "email_"
REMOVED_EMAIL: Final = EMAIL_MARK + "removed"

#: Ids and times that the log and the answer to the client depend on, and those of customers, not of visitors.
_KEPT: Final = frozenset(
    {"event_id", "event_type", "project_id", "schema", "sent_at", "session_id", "timestamp", "workspace_id"}
)
_PERSONS: Final = ("user_id", "visitor_id")
_URLS: Final = frozenset({"clicked_url", "page_url", "referrer_url"})
_NAME: Final = re.compile(r"[A-Za-z0-9_.~\[\]-]{1,64}")
#: Each run of characters is tried from its start only, and no repetition is unlimited, so that no text takes long.
_EMAIL: Final = re.compile(
    r"(?:(?<![\w.+%-])|(?<=%[0-9A-F]{2})(?<!%2B))((?:[\w.+-]|%2B){1,128})(?:@|%(?:25){0,3}40)"
    r"((?:[\w-]{1,63}\.){1,8}(?:xn--[\w-]{2,59}|[^\W\d_]{2,63}))",
    re.IGNORECASE,
)


_IN_URL: Final = "[^&#]*"
#: In any other text an address ends at white space, at a quote or at a bracket.
_IN_TEXT: Final = r"""[^&#\s"'<>\\]*"""


class PersonalData:
    """Cleans events and sessions as the settings say. About 10 us for an event, with everything on."""

    def __init__(self, dropped: Sequence[str], hashed: Sequence[str], email_policy: EmailPolicy, secret: str) -> None:
        self._email_policy = email_policy
        self._secret = secret.encode()
        self._in_url = _Parameters(dropped, hashed, _IN_URL)
        self._in_text = _Parameters(dropped, hashed, _IN_TEXT)

    def clean(self, fields: dict[str, Any]) -> None:
        """Clean the fields of an event or a session in place. An id of a person that is removed leaves none."""
        for name, value in fields.items():
            if name not in _KEPT:
                fields[name] = self._cleaned(value, self._in_url if name in _URLS else self._in_text)
        if self._email_policy == "remove":
            # One id for all whose address is removed would make them one person.
            for name in _PERSONS:
                if REMOVED_EMAIL in str(fields.get(name)):
                    del fields[name]

    def _cleaned(self, value: Any, parameters: "_Parameters") -> Any:
        if value.__class__ is str:
            return self._text(value, parameters)
        if value.__class__ is dict:
            return {self._text(name, parameters): self._cleaned(inner, parameters) for name, inner in value.items()}
        return [self._cleaned(inner, parameters) for inner in value] if value.__class__ is list else value

    def _text(self, text: str, parameters: "_Parameters") -> str:
        if "=" in text:
            text = parameters.cleaned(text, self._hash)
        if self._email_policy != "keep" and ("@" in text or "40" in text):
            return _EMAIL.sub(self._email, text)
        return text

    def _email(self, found: re.Match[str]) -> str:
        if self._email_policy == "remove":
            return REMOVED_EMAIL
        return EMAIL_MARK + self._hash(f"{found[1].replace('+', '%2B')}@{found[2]}")

    def _hash(self, value: str) -> str:
        """Return the keyed hash of a value, however it is percent-encoded and in whatever case."""
        plain = unquote_plus(value).lower().encode()
        return hmac.digest(self._secret, plain, "sha256").hex()[:HASH_CHARS]


class _Parameters:
    """The parameters of addresses that are dropped or hashed; ``value`` is the pattern of a value."""

    def __init__(self, dropped: Sequence[str], hashed: Sequence[str], value: str) -> None:
        one = f"{_any_of(dropped)}={value}"
        run = rf"([?&#](?:amp;)*){one}(?:&(?:amp;)*{one})*(&(?:amp;)*)?"
        self._dropped = re.compile(run, re.IGNORECASE) if dropped else None
        pair = rf"([?&#](?:amp;)*{_any_of(hashed)}=)({value})"
        self._hashed = re.compile(pair, re.IGNORECASE) if hashed else None

    def cleaned(self, text: str, hash_of: Callable[[str], str]) -> str:
        """Return a text without those that are dropped, and with the others' hashes."""
        if self._dropped is not None:
            # What stood before them stays if anything follows: ?a=1&b=2 becomes ?b=2, or nothing.
            text = self._dropped.sub(lambda found: found[1] if found[2] else "", text)
        if self._hashed is not None:
            text = self._hashed.sub(lambda found: found[1] + (found[2] and hash_of(found[2])), text)
        return text


def new_personal_data(dropped: str, hashed: str, email_policy: EmailPolicy, secret: str) -> PersonalData | None:
    """Return what cleans events as the settings say; None if they want nothing.

    Raises:
        ConfigurationError: one of them is not valid.
    """
    names_dropped = _names("TRACKER_URL_PARAMETERS_DROPPED", dropped)
    names_hashed = _names("TRACKER_URL_PARAMETERS_HASHED", hashed)
    if not names_dropped and not names_hashed and email_policy == "keep":
        return None
    if (names_hashed or email_policy == "hash") and len(secret) < MIN_SECRET_CHARS:
        raise ConfigurationError(
            f"TRACKER_PERSONAL_DATA_SECRET: hashes need a secret of {MIN_SECRET_CHARS} characters or more; "
            "without one anybody could find the values by guessing"
        )
    return PersonalData(names_dropped, names_hashed, email_policy, secret)


def _names(setting: str, text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise ConfigurationError(f"{setting}: {name!r}: a name has 1 to 64 letters, digits, _ . ~ - [ or ]")
    return names


def _any_of(names: Sequence[str]) -> str:
    """Return the pattern of a parameter's name; brackets may be percent-encoded."""
    either = "|".join(map(re.escape, names))
    return f"(?:{either})".replace(r"\[", r"(?:\[|%5B)").replace(r"\]", r"(?:\]|%5D)")
