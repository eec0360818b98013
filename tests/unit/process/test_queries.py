"""GET a session, over HTTP: from its owner, else from whoever follows its partition, and 404 only from the owner."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiokafka import TopicPartition
from yarl import URL

from tests.sessions_log import START_MS, Log
from tests.simulation.disk import Disk, MemoryDatabase
from tracker import clock
from tracker.errors import StateDamagedError
from tracker.kafka.clients import partition_for_key
from tracker.observe.internal_token import InternalToken
from tracker.process import queries
from tracker.process.lease import SessionLease, read_lifetimes
from tracker.process.queries import MAX_PEERS_ASKED, SessionPages
from tracker.sessions.layouts import WATERMARK_KEY, encode_watermark
from tracker.streaming.lease import Lease, LeaseBook
from tracker.table.store import SessionStore

TOPIC, TABLE = "tracker.events", "sessions"
PARTITIONS = 4
KEY = "visitor/1"
SECRET = "s3cret-of-all-stages"
NUMBER = partition_for_key(KEY.encode(), PARTITIONS)
TP = TopicPartition(TOPIC, NUMBER)


def store_with_a_session(number: int = NUMBER) -> SessionStore:
    store = SessionStore(Path(f"p-{number}"), lambda path: MemoryDatabase(path, Disk()), now_ms=lambda: 0)
    log = Log(number=number)
    log.event(KEY, START_MS, event_id="a", workspace_id="w1")
    log.event(KEY, START_MS + 5, event_id="b", workspace_id="w2")
    log.event("gone", START_MS, event_id="a")
    assert len(log.fold().events) == 3
    rows = [(key, 0, raw) for key, raw in log.encoded_table().items()]
    rows.append((WATERMARK_KEY, 2, encode_watermark(2, log.partition.mark)))
    store.write(rows, 9)
    return store


class Worker:
    """One worker's page on a real socket, without Faust: ``owner`` and ``workers`` are what Faust would know."""

    def __init__(self) -> None:
        self.leases = LeaseBook()
        self.owner: Any = None
        #: The one that is asked for.
        self.key = KEY
        self.workers: list[str] = []
        self.stores: dict[int, SessionStore] = {}
        self.lag: int | None = 3
        self.asked: list[tuple[str, str]] = []
        self.secrets: list[str] = []
        #: Paths that are no page of ours.
        self.strangers: list[str] = []
        self.url = ""
        self.pages: SessionPages
        self.server: TestServer

    async def start(self, stack: AsyncExitStack) -> "Worker":
        session = await stack.enter_async_context(aiohttp.ClientSession())
        app: Any = SimpleNamespace(
            leases=self.leases,
            router=SimpleNamespace(key_store=self._key_store),
            assignor=SimpleNamespace(tables_metadata=lambda: dict.fromkeys(self.workers)),
            conf=SimpleNamespace(canonical_url=self._url),
            http_client=session,
        )
        self.pages = SessionPages(
            app,
            table_name=TABLE,
            source_topic=TOPIC,
            partitions=PARTITIONS,
            rules=Log().rules,
            token=InternalToken(SECRET),
        )
        self.pages.recovery = SimpleNamespace(store=self.stores.get, lag_rows={NUMBER: self.lag}.get)  # type: ignore[assignment]
        assert not self.pages.routable.is_set()
        self.pages.routable.set()
        site = web.Application()
        site.router.add_get("/session/{id}", self._session)
        site.router.add_get("/{other:.*}", self._stranger)
        self.server = TestServer(site)
        await self.server.start_server()
        stack.push_async_callback(self.server.close)
        self.url = str(self.server.make_url("/"))
        app.conf.canonical_url = self.url
        return self

    _url = ""

    def _key_store(self, table: str, key: bytes) -> str:
        assert (table, key) == (TABLE, self.key.encode())
        if isinstance(self.owner, Exception):
            raise self.owner
        return str(self.owner)

    async def _session(self, request: web.Request) -> web.StreamResponse:
        self.secrets.append(request.headers.get("Authorization", ""))
        self.asked.append((request.match_info["id"], request.query_string))
        return await self.pages.session(request)

    async def _stranger(self, request: web.Request) -> web.StreamResponse:
        self.strangers.append(request.path)
        return web.Response(status=503)

    async def own(self) -> None:
        store = store_with_a_session()
        lease = SessionLease(
            TP,
            self.leases.generation,
            store=store,
            partition_of=lambda _: NUMBER,
            rules=Log().rules,
            cache_max_sessions=10,
            log_start_offset=0,
            lifetimes=await read_lifetimes(store, Log().rules),
        )
        self.leases.grant(lease)

    async def get(self, key: str = KEY, **query: str) -> tuple[int, dict[str, Any], Any]:
        url = URL(f"{self.url}session/{quote(key, safe='')}", encoded=True).with_query(query)
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            return answer.status, await answer.json(), answer.headers


@pytest.fixture
async def worker(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    monkeypatch.setattr(clock, "now_ms", lambda: START_MS + 60_000)
    async with AsyncExitStack() as stack:
        yield await Worker().start(stack)


@pytest.fixture
async def other() -> AsyncIterator[Worker]:
    async with AsyncExitStack() as stack:
        yield await Worker().start(stack)


async def test_the_owner_answers_with_what_is_checkpointed_and_where_that_is(worker):
    await worker.own()
    status, found, _ = await worker.get()
    assert status == 200
    assert (found["session_key"], found["event_sequence"], found["source_offset"]) == (KEY, 1, 0)
    assert (found["from"], found["partition"], found["watermark"]) == ("owner", NUMBER, 2)
    assert (found["stream_time"], found["remaining_ms"]) == (START_MS + 5, 30 * 60_000 - 60_000)
    assert worker.asked == [(KEY, "")]


async def test_a_workspace_sees_its_own_session_only(worker):
    await worker.own()
    for workspace, sequence in (("w1", 1), ("w2", 1)):
        status, found, _ = await worker.get(workspace=workspace)
        assert (status, found["workspace_id"], found["event_sequence"]) == (200, workspace, sequence)
    assert (await worker.get(workspace="w3"))[0] == 404


async def test_only_the_owner_says_that_there_is_no_such_session(worker):
    await worker.own()
    # Another key of the same partition.
    name = next(name for n in range(99) if partition_for_key((name := f"k-{n}").encode(), PARTITIONS) == NUMBER)
    status, found, _ = await worker.get(name)
    assert (status, found) == (404, {"error": {"code": "unknown_session", "message": "no such session"}})


async def test_a_lease_of_another_stage_answers_nothing(worker):
    worker.leases.grant(Lease(TP, worker.leases.generation, 0))
    assert (await worker.get(asked="owner"))[0] == 503


async def test_who_is_not_the_owner_asks_the_owner_and_hands_its_answer_on(worker, other):
    await other.own()
    worker.owner = other.url
    status, found, _ = await worker.get(workspace="w1")
    assert (status, found["from"]) == (200, "owner")
    assert other.asked == [(KEY, "asked=owner&workspace=w1")]
    assert other.secrets == [f"Bearer {SECRET}"]


@pytest.mark.parametrize("key", ["..", ".", "a/../b", "50%25", "a b?c#d", "\N{SNOWMAN}"])
async def test_the_owner_is_asked_for_the_very_key(worker, other, key):
    worker.key, worker.owner = key, other.url
    await worker.get(key)
    assert (other.asked, other.strangers) == ([(key, "asked=owner&workspace=")], [])


async def test_the_owners_no_is_handed_on_too(worker, other):
    await other.own()
    worker.owner = other.url
    assert (await worker.get(workspace="w3"))[0] == 404


async def test_a_question_is_passed_on_once_and_never_in_circles(worker, other):
    worker.owner, other.owner = other.url, worker.url
    worker.workers = other.workers = [worker.url, other.url]
    status, found, headers = await worker.get()
    why = "the session's owner is recovering, or not known yet; try again"
    assert (status, found, headers["Retry-After"]) == (503, {"error": {"code": "recovering", "message": why}}, "2")
    assert [query for _, query in other.asked] == ["asked=owner&workspace="]
    assert len(worker.asked) == 1


async def test_who_believes_to_be_the_owner_and_has_no_lease_does_not_ask_itself(worker):
    worker.owner = worker.url
    assert (await worker.get())[0] == 503
    assert len(worker.asked) == 1


async def test_nobody_is_sent_elsewhere_by_who_is_asked(worker, other):
    worker.stores[NUMBER] = store_with_a_session()
    thirds = []

    async def elsewhere(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"{other.url}third")

    async def third(request: web.Request) -> web.StreamResponse:
        thirds.append(request.path)
        return web.json_response({"from": "third"})

    other.pages.session, other._stranger = elsewhere, third  # type: ignore[method-assign]
    worker.owner = other.url
    assert (await worker.get())[1]["from"] == "standby"
    assert (len(other.asked), thirds, other.strangers) == (1, [], [])


async def test_until_the_router_knows_where_keys_belong_nobody_is_asked(worker, other):
    await other.own()
    worker.owner = other.url
    worker.pages.routable.clear()
    assert (await worker.get())[0] == 503
    assert other.asked == []


# Standbys


async def test_a_standby_says_how_much_it_may_be_behind(worker):
    worker.stores[NUMBER] = store_with_a_session()
    status, found, _ = await worker.get(asked="standby")
    assert (status, found["from"], found["rows_behind"]) == (200, "standby", 3)
    assert (found["partition"], found["watermark"], found["stream_time"]) == (NUMBER, 2, START_MS + 5)
    assert found["staleness_ms"] == 60_000 - 5


async def test_a_standby_whose_clock_is_behind_the_logs_is_not_stale(worker, monkeypatch):
    monkeypatch.setattr(clock, "now_ms", lambda: START_MS - 9)
    worker.stores[NUMBER] = store_with_a_session()
    assert (await worker.get(asked="standby"))[1]["staleness_ms"] == 0


async def test_what_a_standby_does_not_know_it_says_nothing_about(worker):
    worker.stores[NUMBER] = store_with_a_session()
    status, found, _ = await worker.get(asked="standby", workspace="w3")
    assert (status, found["error"]["message"]) == (503, "the standby does not know the session; try again")


async def test_who_follows_nothing_says_so(worker):
    status, found, _ = await worker.get(asked="standby")
    assert (status, found["error"]["message"]) == (
        503,
        "this worker does not follow the session's partition; try again",
    )
    worker.pages.recovery = None
    assert (await worker.get(asked="standby"))[0] == 503


async def test_a_store_that_is_rebuilt_at_the_moment_is_no_error(worker):
    store = worker.stores[NUMBER] = store_with_a_session()

    def damaged(*_: Any) -> Any:
        raise StateDamagedError("corruption")

    store.get_many = store.get = damaged  # type: ignore[method-assign]
    store.watermark = lambda: (2, Log().partition.mark)  # type: ignore[method-assign]
    assert (await worker.get(asked="standby"))[0] == 503


@pytest.mark.parametrize("owner", [KeyError("nobody"), "http://127.0.0.1:9/"])
async def test_without_an_owner_that_answers_our_own_standby_does_and_nobody_else_is_asked(worker, other, owner):
    worker.owner = owner
    worker.workers = [other.url]
    worker.stores[NUMBER] = store_with_a_session()
    status, found, _ = await worker.get()
    assert (status, found["from"]) == (200, "standby")
    assert other.asked == []


async def test_without_one_of_our_own_everybody_elses_standby_is_asked(worker, other):
    worker.owner = "http://127.0.0.1:9/"
    worker.workers = [worker.url, "http://127.0.0.1:9/", "http://127.0.0.1:10/", other.url]
    other.stores[NUMBER] = store_with_a_session()
    status, found, _ = await worker.get(workspace="w2")
    assert (status, found["from"], found["workspace_id"]) == (200, "standby", "w2")
    assert other.asked == [(KEY, "asked=standby&workspace=w2")]


async def test_an_owner_that_recovers_is_not_asked_for_its_standby(worker, other):
    worker.owner = other.url
    worker.workers = [other.url]
    assert (await worker.get())[0] == 503
    assert [query for _, query in other.asked] == ["asked=owner&workspace="]


async def test_an_owner_that_does_not_answer_in_time_is_passed_over(worker, other, monkeypatch):
    monkeypatch.setattr(queries, "PEER_TIMEOUT_SECONDS", 0.5)
    worker.stores[NUMBER] = store_with_a_session()

    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.json_response({})

    other.pages.session = silent  # type: ignore[method-assign]
    worker.owner = other.url
    assert (await worker.get())[1]["from"] == "standby"
    assert len(other.asked) == 1


async def test_no_more_than_so_many_workers_are_asked(worker, other):
    worker.owner = KeyError("nobody")
    worker.workers = [f"{other.url}{number}/" for number in range(MAX_PEERS_ASKED + 5)]
    assert (await worker.get())[0] == 503
    assert len(other.strangers) == MAX_PEERS_ASKED
