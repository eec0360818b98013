"""Write keys and read keys: who may send events to which workspace, from which pages, and who may look at sessions.

Only SHA-256 hashes are held and compared. A key is long and random, so its hash needs no salt and no stretching, and
the time of a look-up tells an attacker nothing: the hash of a guess can't be chosen.
"""

import hashlib
import hmac
import re
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from topics.fields import MAX_ID_CHARS
from tracker.collect.access.origins import OriginVerdict
from tracker.processes.config_file import read_config

MIN_KEY_CHARS: Final = 16
MAX_KEY_CHARS: Final = 256
MAX_ORIGINS: Final = 1_000
#: Far above any sane list of keys.
MAX_KEYS_FILE_BYTES: Final = 16 * 1024 * 1024
ANY_ORIGIN: Final = "*"
#: Of a quota, where the file does not say when to warn.
WARN_PERCENT: Final = 80

_ORIGIN: Final = r"^(\*|https?://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?)$"
Origin = Annotated[str, StringConstraints(pattern=_ORIGIN)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Scope = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_CHARS)]


class _Key(BaseModel):
    """The fields of both kinds: a name for people and logs, and the key, or better only its hash."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Name
    key_sha256: Sha256 = ""
    workspace_id: Scope

    @model_validator(mode="before")
    @classmethod
    def _hash_at_once(cls, fields: Any) -> Any:
        """Replace a key in clear by its hash, so that it is kept nowhere."""
        if not isinstance(fields, Mapping):
            return fields
        fields = dict(fields)
        key = fields.pop("key", None)
        if (key is None) == ("key_sha256" not in fields):
            raise ValueError("give either key_sha256 or key")
        if key is not None:
            if not isinstance(key, str) or not MIN_KEY_CHARS <= len(key) <= MAX_KEY_CHARS:
                raise ValueError(f"key: must be a text of {MIN_KEY_CHARS} to {MAX_KEY_CHARS} characters")
            fields["key_sha256"] = digest(key).hex()
        return fields


class WriteKey(_Key):
    """May send events to one workspace. Its origins say which pages may use it.

    A *public* key is one that pages carry, so everybody may know it: it adds events and opens sessions, and acts on a
    session that is open only with the cookie of that session. A *secret* key belongs to a service, and acts on every
    session of its workspace. Unless ``scope`` says which it is, a key with origins is public, one without is secret.
    """

    scope: Literal["public", "secret"] | None = None

    #: The project that the key's events belong to; empty: they may name any project.
    project_id: Annotated[str, StringConstraints(max_length=MAX_ID_CHARS)] = ""
    #: ``https://shop.example``, ``https://*.shop.example``, or ``*``. None: for services only.
    origins: Annotated[tuple[Origin, ...], Field(max_length=MAX_ORIGINS)] = ()
    #: Overrides TRACKER_COLLECT_KEY_EVENTS_PER_SECOND.
    events_per_second: Annotated[float, Field(gt=0)] | None = None
    #: False for services that don't pass their visitors' headers on.
    enrich: bool = True

    @cached_property
    def is_public(self) -> bool:
        """Whether everybody may know the key."""
        return self.scope == "public" or (self.scope is None and bool(self.origins))

    def origin_verdict(self, origin: str) -> OriginVerdict:
        """Say whether a page of this origin may use the key, and whether its cookies may take part."""
        return _verdict(self.origins, origin)


class ReadKey(_Key):
    """May ask for the sessions of one workspace; secret."""


class Quota(BaseModel):
    """How many events of a day (UTC) a workspace may send; counted are those that took a number."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workspace_id: Scope
    #: From here on its keys are answered 429 until the day ends; None: never.
    events_per_day: Annotated[int, Field(gt=0)] | None = None
    #: From here on answers to its secret keys say so, as an alert does; by default WARN_PERCENT of ``events_per_day``.
    warn_events_per_day: Annotated[int, Field(gt=0)] | None = None

    @property
    def warns_at(self) -> int:
        """The event of the day from which on there is a warning."""
        if self.warn_events_per_day is not None:
            return self.warn_events_per_day
        return -(-(self.events_per_day or 0) * WARN_PERCENT // 100)

    @model_validator(mode="after")
    def _limits_something(self) -> "Quota":
        if self.events_per_day is None and self.warn_events_per_day is None:
            raise ValueError("give events_per_day, warn_events_per_day or both")
        if self.events_per_day is not None and self.warns_at > self.events_per_day:
            raise ValueError("warn_events_per_day is above events_per_day")
        return self


_K = TypeVar("_K", WriteKey, ReadKey)


class KeysFile(BaseModel):
    """The content of ``TRACKER_KEYS_FILE``."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    write_keys: tuple[WriteKey, ...] = ()
    read_keys: tuple[ReadKey, ...] = ()
    quotas: tuple[Quota, ...] = ()

    @model_validator(mode="after")
    def _no_two_alike(self) -> "KeysFile":
        for what in ("key_sha256", "name"):
            values = [getattr(key, what) for key in (*self.write_keys, *self.read_keys)]
            if len(set(values)) != len(values):
                raise ValueError(f"two keys have the same {what.partition('_')[0]}")
        if len({quota.workspace_id for quota in self.quotas}) != len(self.quotas):
            raise ValueError("two quotas are for the same workspace")
        return self


class KeyRing:
    """All keys, found by the hash of the key that a request presents."""

    def __init__(self, file: KeysFile) -> None:
        self.write_keys = file.write_keys
        #: By workspace.
        self.quotas: Mapping[str, Quota] = {quota.workspace_id: quota for quota in file.quotas}
        self._write = {bytes.fromhex(key.key_sha256): key for key in file.write_keys}
        self._read = {bytes.fromhex(key.key_sha256): key for key in file.read_keys}

    def __len__(self) -> int:
        return len(self._write) + len(self._read)

    def write_key(self, presented: str) -> WriteKey | None:
        """Return the write key that was presented, if it is one."""
        return _find(self._write, presented)

    def read_key(self, presented: str) -> ReadKey | None:
        """Return the read key that was presented, if it is one."""
        return _find(self._read, presented)

    def write_key_of(self, key_sha256: str) -> WriteKey | None:
        """Return the write key that has this hash, if there is one; none has an empty hash."""
        return self._write.get(bytes.fromhex(key_sha256))

    def any_verdict(self, origin: str) -> OriginVerdict:
        """Say how pages of an origin may use any key at all. A look at each key: the caller remembers the result."""
        verdicts = {key.origin_verdict(origin) for key in self.write_keys}
        order: tuple[OriginVerdict, ...] = ("credentials", "plain")
        return next((verdict for verdict in order if verdict in verdicts), "refused")


def digest(key: str) -> bytes:
    """Return the hash of a key."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def read_keys(path: Path) -> KeyRing:
    """Read the keys file, TOML or JSON by the ending of its name.

    Raises:
        ConfigurationError: the file is not valid. One line names the place and the mistake, never a value.
    """
    file = read_config(path, KeysFile, what="keys file (TRACKER_KEYS_FILE)", max_bytes=MAX_KEYS_FILE_BYTES)
    return KeyRing(file)


def everybody_may_read(path: Path) -> bool:
    """Return whether every user of this machine may read or change a file. False if it is not there."""
    try:
        return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False


def _find(keys: Mapping[bytes, _K], presented: str) -> _K | None:
    presented_digest = digest(presented)
    key = keys.get(presented_digest)
    if key is None or not hmac.compare_digest(bytes.fromhex(key.key_sha256), presented_digest):
        return None
    return key


def _verdict(origins: tuple[str, ...], origin: str) -> OriginVerdict:
    origin = origin.lower()
    for allowed in origins:
        if allowed == origin:
            return "credentials"
        if "://*." in allowed:
            scheme, _, domain = allowed.partition("://*.")
            pattern = rf"{re.escape(scheme)}://([a-z0-9-]+\.)+{re.escape(domain)}"
            if re.fullmatch(pattern, origin):
                return "credentials"
    return "plain" if ANY_ORIGIN in origins else "refused"
