"""A lease is only as good as the membership: silence of the group, and its refusals, are noticed."""

from dataclasses import dataclass, field

import pytest
from aiokafka import TopicPartition, errors

from tracker.errors import ConfigurationError
from tracker.kafka.requests import FencedInstanceIdError
from tracker.streaming.lease import Lease, LeaseBook
from tracker.streaming.membership import Membership, check_membership, give_up_if_lapsed

SESSION_TIMEOUT_SECONDS = 10.0


@dataclass
class Answer:
    error_code: int


@dataclass
class Coordinator:
    """aiokafka's coordinator, as far as heartbeats go; the broker behind it answers as told."""

    answers: list[int | Exception] = field(default_factory=list)
    group_id = "group"
    generation = 4
    member_id = "member"
    _group_instance_id = "worker-1"
    rejoins = 0
    failed_with: Exception | None = None

    async def _send_req(self, request):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answer(answer)

    async def _do_heartbeat(self):
        if self.answers.pop(0) == errors.UnknownMemberIdError.errno:
            self.member_id = ""
            return False
        return True

    def check_errors(self):
        if self.failed_with is not None:
            raise self.failed_with

    def request_rejoin(self):
        self.rejoins += 1


class Clock:
    """The running loop's clock, moved by hand."""

    def __init__(self, monkeypatch):
        self.now = 1_000.0
        monkeypatch.setattr("tracker.streaming.membership.asyncio.get_running_loop", lambda: self)

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def joined(coordinator: Coordinator) -> Membership:
    membership = Membership(coordinator, SESSION_TIMEOUT_SECONDS)
    membership.joined()
    return membership


async def test_a_membership_lapses_when_no_heartbeat_is_answered_within_the_session_time_out(clock):
    coordinator = Coordinator([errors.NodeNotReadyError()])
    membership = joined(coordinator)
    clock.now += SESSION_TIMEOUT_SECONDS
    assert not membership.has_lapsed
    assert not await coordinator._do_heartbeat()
    clock.now += 0.1
    assert membership.has_lapsed


async def test_an_answered_heartbeat_counts_from_when_it_was_asked(clock):
    coordinator = Coordinator([0, 0])
    membership = joined(coordinator)
    clock.now += SESSION_TIMEOUT_SECONDS - 1
    assert await coordinator._do_heartbeat()
    clock.now += SESSION_TIMEOUT_SECONDS
    assert not membership.has_lapsed
    clock.now += 0.1
    assert membership.has_lapsed


async def test_a_member_that_the_group_does_not_know_has_lapsed_at_once(clock):
    coordinator = Coordinator([errors.UnknownMemberIdError.errno] * 2)
    membership = joined(coordinator)
    assert not await coordinator._do_heartbeat()
    assert membership.has_lapsed
    assert not membership.is_known


async def test_heartbeats_go_on_while_a_broker_that_has_just_started_still_loads_the_group(clock):
    coordinator = Coordinator([errors.GroupLoadInProgressError.errno, 0, 0])
    membership = joined(coordinator)
    assert not await coordinator._do_heartbeat()
    assert await coordinator._do_heartbeat()
    assert not membership.has_lapsed


async def test_a_member_whose_place_was_taken_is_told_what_to_do(clock):
    coordinator = Coordinator([FencedInstanceIdError.errno])
    joined(coordinator)
    with pytest.raises(FencedInstanceIdError):
        await coordinator._do_heartbeat()
    coordinator.failed_with = FencedInstanceIdError()
    with pytest.raises(ConfigurationError, match="TRACKER_WORKER_ID"):
        check_membership(coordinator)
    assert coordinator.rejoins == 0


def test_a_coordination_that_failed_joins_again_because_its_heartbeats_have_ended():
    coordinator = Coordinator(failed_with=errors.KafkaError("Unexpected exception in heartbeat task"))
    assert not check_membership(coordinator)
    assert coordinator.rejoins == 1
    coordinator.failed_with = None
    assert check_membership(coordinator)
    assert coordinator.rejoins == 1


@pytest.mark.parametrize("held", ["a lease", "a partition that is being recovered", "no partition"])
async def test_a_member_that_has_lapsed_gives_up_once_whatever_the_group_had_given_it(clock, held):
    membership, leases = joined(Coordinator()), LeaseBook()
    leases.expect(0 if held == "no partition" else 1)
    lease = Lease(TopicPartition("events", 3), leases.generation, 0)
    if held == "a lease":
        leases.grant(lease)
    assert not give_up_if_lapsed(membership, leases)
    clock.now += SESSION_TIMEOUT_SECONDS + 0.1
    assert give_up_if_lapsed(membership, leases)
    assert leases.expected is None
    assert leases.live() == []
    assert not leases.grant(lease)  # its recovery may end later
    assert not give_up_if_lapsed(membership, leases)
