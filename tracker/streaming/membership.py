"""What aiokafka does not do for a static member: notice that another process has taken its place.

A group knows a static member by its ``group.instance.id``. Whoever joins with the same one takes the place, and the
broker fences the other (error 82, unknown to aiokafka). Its heartbeats don't carry the id, so it would only learn that
its member id is gone, join again, and take the place back: two workers with one name would do so for ever.
"""

from typing import Any, Final

import structlog
from aiokafka import errors
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Int16, Int32, Schema, String

from tracker.errors import ConfigurationError
from tracker.kafka_access import denial, is_denial

log = structlog.get_logger()

_API_KEY: Final = 12


class FencedInstanceIdError(errors.BrokerResponseError):  # type: ignore[misc] # aiokafka is untyped
    """Another process has joined the group under our name since."""

    errno = 82
    message = "FENCED_INSTANCE_ID"
    description = "another member has registered with the same group.instance.id"


errors.kafka_errors[FencedInstanceIdError.errno] = FencedInstanceIdError


class HeartbeatResponseV3(Response):  # type: ignore[misc] # likewise
    """The answer to a heartbeat of a static member."""

    API_KEY = _API_KEY
    API_VERSION = 3
    SCHEMA = Schema(("throttle_time_ms", Int32), ("error_code", Int16))


class HeartbeatRequestV3(RequestStruct):  # type: ignore[misc] # likewise
    """A heartbeat that says who it is from."""

    API_KEY = _API_KEY
    API_VERSION = 3
    RESPONSE_TYPE = HeartbeatResponseV3
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("generation_id", Int32),
        ("member_id", String("utf-8")),
        ("group_instance_id", String("utf-8")),
    )


class StaticHeartbeat(Request[HeartbeatRequestV3]):  # type: ignore[misc] # likewise
    """Builds the request in the one version that carries the instance id and needs no tagged fields."""

    API_KEY = _API_KEY

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[HeartbeatRequestV3]) -> HeartbeatRequestV3:
        """Fill the fields in."""
        return request_struct_class(*self._fields)


def notice_fencing(coordinator: Any) -> None:
    """Let a group coordinator's heartbeats fail for good once another process has taken its name.

    ``coordinator`` is aiokafka's ``GroupCoordinator``; the error comes out of its ``check_errors``.
    """
    do_heartbeat = coordinator._do_heartbeat  # noqa: SLF001 - aiokafka has no seam for it

    async def heartbeat() -> bool:
        request = StaticHeartbeat(
            coordinator.group_id,
            coordinator.generation,
            coordinator.member_id,
            coordinator._group_instance_id,  # noqa: SLF001
        )
        try:
            response = await coordinator._send_req(request)  # noqa: SLF001
        except errors.KafkaError:
            return False  # noted and logged by the coordinator; the next one may get through
        if response.error_code == FencedInstanceIdError.errno:
            raise FencedInstanceIdError
        return bool(await do_heartbeat())

    coordinator._do_heartbeat = heartbeat  # noqa: SLF001


def check_membership(coordinator: Any) -> bool:
    """Take note of what went wrong in the coordination, and return whether nothing did.

    aiokafka halts the coordination until somebody asks, so it must be asked again and again; then it joins again.

    Raises:
        ConfigurationError: another process runs under our name, or the group may not be used by us.
    """
    try:
        coordinator.check_errors()
    except errors.KafkaError as error:
        if FencedInstanceIdError.__name__ in repr(error):
            raise ConfigurationError(
                f"another process has joined the group as {coordinator._group_instance_id!r}: "  # noqa: SLF001
                "give each worker its own TRACKER_WORKER_ID"
            ) from error
        if is_denial(error):
            raise denial(error) from error
        log.warning("the group's coordinator refused; joining again", error=repr(error))
        return False
    return True
