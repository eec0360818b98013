"""The state of one session, and how far its partition has been folded. ``layouts`` has their formats."""

from typing import Final

import msgspec

from topics.session import IDENTITY_FIELDS, CloseReason
from tracker.sessions.rules import RenewalContext, Rules

#: In place of a close reason: the key counts as unknown, and only the state's offset still matters.
FORGOTTEN: Final = "forgotten"

#: After these the same visit may go on at once, and does not say again who the visitor is.
_VISITOR_STAYS: Final = frozenset({"cap", "claimed"})


class Lifetime(msgspec.Struct, array_like=True, kw_only=True):
    """The beginning of a state: the fields that determine its deadline. Decoding them costs a fraction of the whole."""

    session_id: str
    ordinal: int
    created_ms: int
    last_activity_ms: int
    timeout_ms: int
    sequence: int = 0
    closed_ms: int = 0
    close_reason: str = ""
    #: When the last event came whose id is remembered; 0: none is.
    remembered_ms: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the session still takes events."""
        return not self.close_reason

    def deadline_ms(self, rules: Rules) -> int:
        """Return the last millisecond of stream time at which the state stays as it is.

        After it an open session is closed. A closed one forgets its event ids, then becomes a forgotten row, which is
        removed at its own deadline.
        """
        if not self.close_reason:
            return min(self.last_activity_ms + self.timeout_ms, self.created_ms + rules.max_length_ms)
        if self.close_reason == FORGOTTEN:
            return self.closed_ms + rules.forgotten_retention_ms
        forgotten_ms = self.closed_ms + rules.closed_stub_retention_ms
        if not self.remembered_ms or rules.keeps_to_layout_2:
            return forgotten_ms
        return min(forgotten_ms, self.remembered_ms + rules.memory_ms)


class Pages(msgspec.Struct, array_like=True, kw_only=True, frozen=True):
    """Which pages of older event ids a session has: numbers [first, end), in two generations.

    Pages below ``current`` are older than ``began_ms``; they go once the duplicate window has passed since then.
    """

    began_ms: int
    first: int
    current: int
    end: int


class Touch(msgspec.Struct, array_like=True, kw_only=True, frozen=True):
    """A campaign by which the visitor came during a session, and when; ``campaign`` holds its known fields."""

    at_ms: int
    campaign: dict[str, str]


class SessionState(Lifetime, array_like=True, kw_only=True):
    """One session, open or closed. Mutable: the fold changes it once per event, and only the fold has it."""

    #: Context, given once and filled into events. ``workspace_id`` among it says whose session this is.
    context: dict[str, str] = msgspec.field(default_factory=dict)
    #: The latest event ids with their contents (``memory``); the older ones are in pages.
    recent: bytes = b""
    visitor: dict[str, str | bool] = msgspec.field(default_factory=dict)
    pages: Pages | None = None
    #: The campaigns by which the visitor came, in their order, each that differs from the one before.
    touches: list[Touch] = msgspec.field(default_factory=list)

    @property
    def workspace_id(self) -> str:
        """The workspace that the session belongs to; empty: none has been named."""
        return self.context.get("workspace_id", "")

    def touch(self, now_ms: int) -> None:
        """Note activity. It never moves backwards."""
        if now_ms > self.last_activity_ms:  # noqa: PLR1730 - max() takes twice the time, once an event
            self.last_activity_ms = now_ms

    def is_full(self, rules: Rules) -> bool:
        """Return whether context and visitor have reached their limit together."""
        return _size_bytes(self.context) + _size_bytes(self.visitor) >= rules.max_context_bytes

    def is_claimed_by(self, workspace_id: str, rules: Rules) -> bool:
        """Return whether this is the first workspace that is named where a session of no workspace is open."""
        return bool(workspace_id) and not self.workspace_id and not rules.keeps_to_layout_2

    def takes_late(self, workspace_id: str, now_ms: int, rules: Rules) -> bool:
        """Return whether a closed session takes a passive event of this workspace now."""
        return (
            not self.is_open
            and workspace_id in ("", self.workspace_id)
            and now_ms <= self.closed_ms + rules.passive_grace_ms
            and self.sequence < rules.max_events
        )

    def close(self, reason: CloseReason, closed_ms: int) -> None:
        """End the session. It still knows its visitor: a passive event may give one more row of it."""
        self.close_reason = reason
        self.closed_ms = closed_ms

    def shrink(self) -> None:
        """Forget the visitor, which a worker of 0.1.0 would pass on to the next session."""
        self.visitor = self.passed_on()

    def passed_on(self) -> dict[str, str | bool]:
        """Return the visitor of the session that follows, if its first record does not say."""
        return self.visitor if self.close_reason in _VISITOR_STAYS else {}

    def inherited(self, policy: RenewalContext, max_bytes: int) -> dict[str, str]:
        """Return the context of the session that follows; less than the policy says if that would fill it at once.

        After another campaign, only whose session it is: the rest belongs to the campaign before. After consent was
        denied, without the visitor's id.
        """
        context = self.context
        if context.get("consent_analytics") == "denied":
            context = {name: value for name, value in context.items() if name != "visitor_id"}
        kept = context
        if policy != "all" or self.close_reason == "campaign" or _size_bytes(kept) >= max_bytes:
            kept = {name: value for name, value in context.items() if name in IDENTITY_FIELDS}
        if policy == "none" or _size_bytes(kept) >= max_bytes:
            kept = {name: value for name, value in context.items() if name == "workspace_id"}
        return dict(kept)


def _size_bytes(fields: dict[str, str] | dict[str, str | bool]) -> int:
    return sum(len(str(value).encode()) for value in fields.values())


def forgotten(now_ms: int) -> SessionState:
    """Return the row that replaces a stub after its retention."""
    return SessionState(
        session_id="",
        ordinal=0,
        created_ms=0,
        last_activity_ms=0,
        timeout_ms=0,
        closed_ms=now_ms,
        close_reason=FORGOTTEN,
    )


class Watermark(msgspec.Struct, array_like=True, kw_only=True):
    """How far a partition's log has been folded. It lies in the changelog like a state, under its own key.

    ``forwarded`` holds, for each partition that records were forwarded from, the last offset there that was taken.
    ``topic_id`` and ``partitions`` say what the offsets and the keys' homes refer to: the id of the source topic, and
    among how many partitions keys are spread. Both are empty where an earlier release wrote this.
    """

    stream_time_ms: int
    layout: int = 3
    forwarded: dict[int, int] = msgspec.field(default_factory=dict)
    topic_id: str = ""
    partitions: int = 0


class UsageCount(msgspec.Struct, array_like=True):
    """The counts of one workspace. ``bytes`` are keys and values of its numbered events and its session records."""

    events: int = 0
    sessions: int = 0
    bytes: int = 0
    rejected: int = 0
    duplicates: int = 0


class UsageMark(msgspec.Struct, array_like=True):
    """The counts by workspace that are not put out yet, and the minute of stream time in which they began."""

    minute_ms: int = 0
    counts: dict[str, UsageCount] = msgspec.field(default_factory=dict)
