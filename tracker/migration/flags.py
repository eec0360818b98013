"""Which lane a session takes: a pure function of its id, its workspace, the time, and a list of steps.

No session is torn: the step that was in effect when it was born decides, and nothing later. A UUIDv7, as the collector
mints them, says itself when it was born. For an id that does not, the present session under it may have begun at any
time since the longest session ago, so all steps in effect since then count, and it takes all their lanes: what began
before a step is whole in the lane of before, what begins after it is whole in the lane of after.

Nothing is remembered anywhere, so collectors agree, on all machines and after every restart, when their files do.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from xxhash import xxh3_64_intdigest

from tracker.errors import ConfigurationError
from tracker.processes.config_file import read_config
from tracker.sessions.keys import birth_ms

Lane = Literal["tracker", "legacy", "shadow"]
TRACKER: Final = frozenset({"tracker"})
LEGACY: Final = frozenset({"legacy"})
BOTH: Final = TRACKER | LEGACY
_LANES: Final[Mapping[Lane, frozenset[str]]] = {"tracker": TRACKER, "legacy": LEGACY, "shadow": BOTH}

#: Steps that a file may have; old ones can go when no session is left that they have decided.
MAX_STEPS: Final = 1_000
MAX_FILE_BYTES: Final = 1_000_000
#: Percentages have two decimals.
_BUCKETS: Final = 10_000

_FLAGS_MODEL: Final = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class Rule(BaseModel):
    """Shares of the sessions that go another way than ``lane``; by a stable hash of the session id."""

    model_config = _FLAGS_MODEL

    lane: Lane
    tracker_percent: Percent = 0.0
    shadow_percent: Percent = 0.0

    @model_validator(mode="after")
    def _fits(self) -> "Rule":
        if self.tracker_percent + self.shadow_percent > 100:  # noqa: PLR2004 - a whole
            raise ValueError("tracker_percent and shadow_percent are more than 100 together")
        return self

    def lanes(self, bucket: int) -> frozenset[str]:
        """Return the lanes of a session in this bucket."""
        share = bucket * 100 / _BUCKETS
        if share < self.tracker_percent:
            return TRACKER
        if share < self.tracker_percent + self.shadow_percent:
            return BOTH
        return _LANES[self.lane]


class Step(Rule):
    """The rule for sessions that are born from a time on; ``workspaces`` have their own."""

    starts: AwareDatetime = Field(alias="from")
    workspaces: dict[str, Rule] = {}

    @property
    def starts_ms(self) -> int:
        """When it takes effect, in milliseconds since the epoch."""
        return int(self.starts.timestamp() * 1_000)

    def rule(self, workspace_id: str) -> Rule:
        """Return the rule for a workspace."""
        return self.workspaces.get(workspace_id, self)


class Flags(BaseModel):
    """All steps, in the order in which they take effect. The first one also holds for all that was before."""

    model_config = _FLAGS_MODEL

    steps: Annotated[list[Step], Field(min_length=1, max_length=MAX_STEPS)]

    @model_validator(mode="after")
    def _in_order(self) -> "Flags":
        times = [step.starts for step in self.steps]
        if times != sorted(set(times)):
            raise ValueError("steps must stand in the order of their 'from', each with a time of its own")
        return self

    def lanes(self, session_id: str, workspace_id: str, *, now_ms: int, overlap_ms: int) -> frozenset[str]:
        """Return the lanes that a record of this session takes now.

        Args:
            session_id: The record's key.
            workspace_id: The workspace that the record names; "" if none.
            now_ms: The present, in milliseconds since the epoch.
            overlap_ms: The longest session.
        """
        born_ms = birth_ms(session_id)
        if born_ms is None or not now_ms - overlap_ms <= born_ms <= now_ms:
            since_ms, until_ms = now_ms - overlap_ms, now_ms
        else:
            since_ms = until_ms = born_ms
        bucket = xxh3_64_intdigest(session_id.encode()) % _BUCKETS
        lanes: frozenset[str] = frozenset()
        for step, ends_ms in zip(self.steps, [*(step.starts_ms for step in self.steps[1:]), None], strict=True):
            is_first = step is self.steps[0]
            if (is_first or step.starts_ms <= until_ms) and (ends_ms is None or ends_ms > since_ms):
                lanes |= step.rule(workspace_id).lanes(bucket)
        return lanes

    def rewrites(self, old: "Flags", now_ms: int, overlap_ms: int) -> str | None:
        """Say why these flags would change the lane of sessions that are under way under the old ones, or None."""
        kept = {step.starts_ms: step for step in self.steps}
        known = {step.starts_ms for step in old.steps}
        begun = [step for step in old.steps if step.starts_ms <= now_ms]
        for step, later in zip(begun, [*begun[1:], None], strict=True):
            is_past = later is not None and later.starts_ms <= now_ms - overlap_ms
            if not is_past and kept.get(step.starts_ms) != step:
                return f"the step from {_iso(step.starts)} is in effect: add a step instead of changing it"
        late = [step for step in self.steps if step.starts_ms <= now_ms and step.starts_ms not in known]
        if late:
            return f"a new step can't begin in the past ({_iso(late[0].starts)}): sessions have begun since"
        return None


def read_flags(path: Path) -> Flags:
    """Read a flags file, TOML or JSON by the ending of its name.

    Raises:
        ConfigurationError: it can't be read, or it contradicts itself.
    """
    return read_config(path, Flags, what="migration file (TRACKER_MIGRATION_FILE)", max_bytes=MAX_FILE_BYTES)


def write_flags(path: Path, flags: Flags) -> None:
    """Write a flags file as JSON, in one step: a collector never sees half of it.

    Raises:
        ConfigurationError: it can't be written.
    """
    text = flags.model_dump_json(by_alias=True, exclude_defaults=True, indent=2)
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text + "\n")
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"can't write {path}: {error.strerror}") from None


def _iso(when: datetime) -> str:
    return when.isoformat(timespec="seconds")
