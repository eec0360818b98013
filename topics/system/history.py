"""What an operator has decided about the source log: kept beside it, for everyone who folds it, live or again.

A fold judges by the log alone. A record that no fold gets past can't say that it is to be skipped, and what comes after
it in the log is not read before it; so decisions lie in a topic of their own, compacted, which is read whole before a
partition is folded. The decision about a partition lies in the partition of the same number.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_REASON_CHARS: Final = 500


class Skip(BaseModel):
    """The record at an offset is not read: a dead letter with the reason ``skipped`` stands for it in every fold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decision: Literal["skip"] = "skip"
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    reason: str = Field(min_length=1, max_length=MAX_REASON_CHARS)
    decided_at_ms: int

    @property
    def key(self) -> bytes:
        """The key of its record: a second decision about the same offset takes the place of the first."""
        return b"skip:%d:%d" % (self.partition, self.offset)

    def encode(self) -> bytes:
        """Serialise it to JSON bytes, as it lies in the topic."""
        return self.model_dump_json().encode()
