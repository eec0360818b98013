"""Notices that a static member has lost its membership, which aiokafka does not.

A group knows a static member by its ``group.instance.id``. A second process that joins with the same id takes the
place, and the broker fences the first (error 82, unknown to aiokafka). aiokafka's heartbeats don't carry the id, so the
first would only learn that its member id is gone, join again, and take the place back: two workers with one name would
do so for ever.

aiokafka also ends nothing when heartbeats stay unanswered, though the group gives the partitions away after the session
time-out. A lease is only as good as the membership, so this module watches it.
"""

import asyncio
from typing import Any

import structlog
from aiokafka import errors

from tracker.errors import ConfigurationError
from tracker.kafka import aiokafka_internals as internals
from tracker.kafka.access import denial, is_denial
from tracker.kafka.requests import FencedInstanceIdError, StaticHeartbeat
from tracker.streaming.lease import LeaseBook

log = structlog.get_logger()


class Membership:
    """Whether the group still counts on us, by the heartbeats it has answered.

    ``coordinator`` is aiokafka's ``GroupCoordinator``. Its heartbeats fail for good once another process has taken our
    name; the error comes out of its ``check_errors``.
    """

    def __init__(self, coordinator: Any, session_timeout_seconds: float) -> None:
        self._coordinator = coordinator
        self._session_timeout_seconds = session_timeout_seconds
        self._do_heartbeat = internals.replace_heartbeat(coordinator, self._heartbeat)
        #: When what the group answered last was asked, by the running loop's clock.
        self._heard_at = 0.0

    @property
    def is_known(self) -> bool:
        """Whether the group knows us: False once it has told us that it does not."""
        return bool(self._coordinator.member_id)

    @property
    def has_lapsed(self) -> bool:
        """Whether the group has forgotten us, or may have: it has not answered within the session time-out."""
        silent_seconds = asyncio.get_running_loop().time() - self._heard_at
        return not self.is_known or silent_seconds > self._session_timeout_seconds

    def joined(self) -> None:
        """Note that the group has answered with an assignment."""
        self._heard_at = asyncio.get_running_loop().time()

    async def _heartbeat(self) -> bool:
        coordinator = self._coordinator
        asked_at = asyncio.get_running_loop().time()
        request = StaticHeartbeat(
            coordinator.group_id,
            coordinator.generation,
            coordinator.member_id,
            internals.instance_id(coordinator),
        )
        try:
            response = await internals.ask_coordinator(coordinator, request)
        except errors.KafkaError:
            return False  # noted and logged by the coordinator; the next one may get through
        if response.error_code == FencedInstanceIdError.errno:
            raise FencedInstanceIdError
        if response.error_code == errors.GroupLoadInProgressError.errno:
            return False  # a broker that has just started; aiokafka would never send another heartbeat
        answered = bool(await self._do_heartbeat())
        if answered:
            self._heard_at = asked_at
        return answered


def give_up_if_lapsed(membership: Membership, leases: LeaseBook) -> bool:
    """End the generation once the group may have given its partitions away; return whether it has just ended.

    Partitions that are still being recovered count, too, and so does a member that was given none and stands by: the
    worker's readiness must show that the group does not answer.
    """
    if leases.expected is None or not membership.has_lapsed:
        return False
    log.warning("the group has not answered within the session time-out: all leases end")
    leases.revoke_all()
    return True


def check_membership(coordinator: Any) -> bool:
    """Note an error of the coordination; return whether there was none.

    aiokafka halts the coordination until its error is asked for, so this must be called again and again. If the
    heartbeats failed, aiokafka would go on without them, so it is told to join again, which also restarts them.

    Raises:
        ConfigurationError: another process runs under our name, or the group may not be used by us.
    """
    try:
        coordinator.check_errors()
    except errors.KafkaError as error:
        if FencedInstanceIdError.__name__ in repr(error):
            raise ConfigurationError(
                f"another process has joined the group as {internals.instance_id(coordinator)!r}: "
                "give each worker its own TRACKER_WORKER_ID"
            ) from error
        if is_denial(error):
            raise denial(error) from error
        log.warning("the group's coordinator refused; joining again", error=repr(error))
        coordinator.request_rejoin()
        return False
    return True
