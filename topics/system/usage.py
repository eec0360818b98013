"""Usage: what a workspace has sent in one minute of the log, as a row of ``usage_v1``."""

from typing import Annotated

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from topics.fields import Count, Id, Timestamp, Version


@with_config(ConfigDict(extra="forbid"))
class UsageRow(TypedDict):
    """A row of ``usage_v1``: one partition's records of a workspace since the row before. Rows are added up.

    ``minute`` is the minute of stream time (the log's clock) in which they came. Workspace, minute, log, partition and
    ``version``, the source offset that completed the row, tell rows apart: the same row sent again collapses.
    """

    workspace_id: Id
    minute: Timestamp
    source_topic: str
    source_partition: Count
    events: Count
    sessions: Count
    bytes: Annotated[int, Field(ge=0)]
    rejected: Count
    duplicates: Count
    version: Version
