"""An operator's decisions about the source log, for each process that folds the log, live or in a replay.

A fold judges by the log alone. If no fold gets past a record, that record can't say that it must be skipped, and no
later record is read. So decisions lie in a second topic, compacted, which is read whole before a partition is folded.
The decisions about a partition lie in the partition of the same number.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_REASON_CHARS: Final = 500


class Skip(BaseModel):
    """The record at an offset is not read: a dead letter with the reason ``skipped`` stands for it in every fold."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

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
