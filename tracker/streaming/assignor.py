"""Faust's partition assignor, for static members that move."""

from typing import Any, cast

import structlog
from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor

log = structlog.get_logger()


class MovingAssignor(PartitionAssignor):
    """Takes an assignment that was made for this member at its former address, and has the group told of the new one.

    A static member that comes back within the session time-out is given what it had, without a rebalance. If it comes
    back elsewhere (another host or port), the assignment names the old address; Faust's own assignor would take that
    for a bug, and its worker would hang.
    """

    def on_assignment(self, assignment: Any) -> None:
        """Take over what was assigned, and join again if the others don't know where we are now."""
        metadata = ClientMetadata.loads(self._decompress(assignment.user_data))
        own_url = str(self._url)
        if metadata.url == own_url:
            super().on_assignment(assignment)
            return
        log.info("we are at another address than before; the group is told", before=metadata.url, now=own_url)
        moved = ClientMetadata(
            assignment=metadata.assignment,
            url=own_url,
            changelog_distribution=metadata.changelog_distribution,
            external_topic_distribution=metadata.external_topic_distribution,
            topic_groups=metadata.topic_groups,
        )
        assignment.user_data = self._compress(moved.dumps())
        super().on_assignment(assignment)
        cast("Any", self.app).chunk_consumer.thread.join_again()
