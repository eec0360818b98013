"""``/readyz`` on the port for the world: yes or no, and the reasons to operators only."""

from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.api.operations import OperationsEndpoints
from tracker.collect.api.readiness import Readiness
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request
from tracker.observe.internal_token import InternalToken
from tracker.processes.supervised_tasks import SupervisedTasks

SECRET = "s3cret-of-all-stages"
SPILL = {"records": 3, "bytes": 300}
LOCAL = {"Host": "localhost:8000"}


def request(peer: str = "127.0.0.1", **headers: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request("GET", "/readyz", "", CIMultiDictProxy(CIMultiDict(named)), b"", peer)


class Collector:
    """The endpoints over a producer that is in trouble, or is not."""

    def __init__(self, secret: str = "") -> None:
        self.trouble: RequestError | None = None
        producer: Any = SimpleNamespace(readiness=self._readiness)
        readiness = Readiness(producer, None)
        readiness.tasks = self.tasks = SupervisedTasks()
        nothing: Any = None
        self.endpoints = OperationsEndpoints(nothing, readiness, nothing, InternalToken(secret))

    async def _readiness(self) -> dict[str, Any]:
        if self.trouble is not None:
            raise self.trouble
        return {"kafka": "ok", "spill": SPILL}

    async def says(self, asked: Request) -> dict[str, Any]:
        response = await self.endpoints.ready(asked).response()
        assert response.status == 200
        return orjson.loads(response.body)


def in_trouble() -> RequestError:
    return RequestError("spill_full", "kafka-7.internal is away", reasons=["/data is full"])


async def refusal(secret: str, asked: Request, trouble: RequestError) -> RequestError:
    collector = Collector(secret)
    collector.trouble = trouble
    with pytest.raises(RequestError) as caught:
        await collector.says(asked)
    return caught.value


OPERATORS = [
    ("", request(**LOCAL)),
    ("", request("::1", Host="[::1]:8000")),
    (SECRET, request("203.0.113.9", Host="collect.example", Authorization=f"Bearer {SECRET}")),
]
OTHERS = [
    ("", request("203.0.113.9", **LOCAL)),
    ("", request(Host="collect.example")),
    ("", request(**LOCAL, X_Forwarded_For="203.0.113.9")),
    # With a secret, being on this machine is not enough: a proxy is, too.
    (SECRET, request(**LOCAL)),
    (SECRET, request(**LOCAL, Authorization="Bearer guess")),
    ("", request("203.0.113.9", Host="collect.example", Authorization="Bearer ")),
]


@pytest.mark.parametrize(("secret", "asked"), OPERATORS)
async def test_operators_are_told_where_events_go(secret, asked):
    assert await Collector(secret).says(asked) == {"status": "ready", "kafka": "ok", "spill": SPILL}


@pytest.mark.parametrize(("secret", "asked"), OTHERS)
async def test_everybody_else_is_told_yes(secret, asked):
    assert await Collector(secret).says(asked) == {"status": "ready"}


@pytest.mark.parametrize(("secret", "asked"), OPERATORS)
async def test_operators_are_told_why_not(secret, asked):
    trouble = in_trouble()
    assert await refusal(secret, asked, trouble) is trouble


@pytest.mark.parametrize(("secret", "asked"), OTHERS)
async def test_everybody_else_is_told_no_without_a_reason(secret, asked):
    error = await refusal(secret, asked, in_trouble())
    assert (error.code, error.status, error.message, error.reasons) == (
        "not_ready",
        503,
        "events can't be accepted now",
        (),
    )
