"""Faust's partition assignor, for static members that move."""

from typing import Any, cast

import structlog
from faust.assignor.client_assignment import ClientMetadata

from tracker.streaming import faust_internals

log = structlog.get_logger()


class MovingAssignor(faust_internals.Assignor):
    """Takes an assignment that was made for this member at its former address, and has the group told of the new one.

    A static member that comes back within the session time-out keeps its partitions, without a rebalance. If it comes
    back elsewhere (another host or port), the assignment names the old address; Faust's own assignor would take that
    for a bug, and its worker would hang.
    """

    def on_assignment(self, assignment: Any) -> None:
        """Take over the assigned partitions, and join again if the other workers don't know our new address."""
        metadata = ClientMetadata.loads(self.unpack(assignment.user_data))
        if metadata.url == self.own_url:
            super().on_assignment(assignment)
            return
        log.info("we are at another address than before; the group is told", before=metadata.url, now=self.own_url)
        moved = ClientMetadata(
            assignment=metadata.assignment,
            url=self.own_url,
            changelog_distribution=metadata.changelog_distribution,
            external_topic_distribution=metadata.external_topic_distribution,
            topic_groups=metadata.topic_groups,
        )
        assignment.user_data = self.pack(moved.dumps())
        super().on_assignment(assignment)
        cast("Any", self.app).chunk_consumer.thread.join_again()
