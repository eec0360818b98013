"""The records that a replay reads and the outputs that it writes: decided once, kept in the generation. Pure values."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from tracker.sessions.rules import Rules

#: ``topics``: output topics of the generation's own. ``datasource``: Tinybird datasources of choice.
#: ``compare``: nothing is written; each output is held against the live one.
TargetKind = Literal["topics", "datasource", "compare"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The request. A generation is resumed only with the same request."""

    name: str
    target: TargetKind
    begin: str = "earliest"
    end: str = "latest"
    warm_up_seconds: int | None = None
    partitions: tuple[int, ...] = ()
    workspace: str = ""
    events_datasource: str = ""
    sessions_datasource: str = ""
    #: The log is separate from the live one, which may use its keys: no session has its key as its id.
    keys_are_used: bool = False


class PartitionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One partition's offsets: folded from ``begin``, handed on from ``emit_from``, up to ``until``, not included."""

    partition: int
    begin: int
    emit_from: int
    until: int

    @property
    def records(self) -> int:
        """The offsets that are folded; some may be empty."""
        return max(0, self.until - self.begin)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A request with its times and words turned into offsets, and the rules that the fold goes by."""

    request: Request
    source_topic: str
    cluster_id: str
    rules: Rules
    #: With the target ``datasource``, whole sessions that began in this stretch of stream time, [begin, end).
    sessions_from_ms: int
    sessions_to_ms: int
    partitions: tuple[PartitionPlan, ...]
    #: From here on every record of every partition is folded; 0: from the beginning of the log.
    complete_from_ms: int = 0
    #: Up to here, not included, no session can have begun unseen: the log's end when this was planned.
    complete_to_ms: int = 0

    @property
    def records(self) -> int:
        """The offsets to fold in all partitions."""
        return sum(plan.records for plan in self.partitions)


def share_out(plans: Sequence[PartitionPlan], processes: int) -> list[list[PartitionPlan]]:
    """Deal partitions to processes: the largest first, each to the process that has the least to do."""
    shares: list[list[PartitionPlan]] = [[] for _ in range(min(processes, len(plans)))]
    for plan in sorted(plans, key=lambda plan: -plan.records):
        min(shares, key=lambda share: sum(each.records for each in share)).append(plan)
    return shares
