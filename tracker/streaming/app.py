"""The Faust app that both stream stages run on.

Membership, assignment, agents per partition and routing are Faust's; fetching, leases and positions are ours
(docs/decisions/0002).
"""

import asyncio
import os
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import structlog
import uvloop
from faust.types import AgentT, StreamT
from faust.types.agents import AgentFun
from mode.supervisors import SupervisorStrategy
from mode.types import ServiceT

from tracker.errors import ConfigurationError
from tracker.kafka.access import denial, is_denial
from tracker.processes.directories import make_directory
from tracker.processes.garbage_collection import look_for_cycles_rarely
from tracker.processes.signals import stop_event
from tracker.settings import Settings
from tracker.streaming import faust_internals
from tracker.streaming.assignor import MovingAssignor
from tracker.streaming.chunk import Chunk
from tracker.streaming.credentials import credentials
from tracker.streaming.lease import LeaseBook
from tracker.streaming.recovery import LeaseOpener, LeaseRecovery
from tracker.streaming.transport import ChunkConsumer, ChunkTransport, chunk_of

log = structlog.get_logger()

EXIT_CONFIGURATION: Final = 1
EXIT_BUG: Final = 70
#: How long a stop may take before the process just ends; nothing is lost by that.
STOP_TIMEOUT_SECONDS: Final = 20.0
#: How long threads may take to end after that.
END_TIMEOUT_SECONDS: Final = 3.0
#: How long a stop may take to finish records that have been taken already.
DRAIN_TIMEOUT_SECONDS: Final = 5.0
#: Several heartbeats must fit into the session time-out, or one slow answer evicts a worker.
HEARTBEATS_PER_SESSION: Final = 4
#: How long the group waits for a member that lives (its heartbeats come) but does not rejoin. A member rejoins as soon
#: as its chunks at hand are done, REVOCATION_DRAIN_SECONDS at most; the rest is for one whose machine swaps.
REBALANCE_TIMEOUT_SECONDS: Final = 60.0
#: A join is answered when all have joined: longer than the rebalance time-out, or a slow group would look like a
#: dead broker.
REQUEST_TIMEOUT_SECONDS: Final = 90.0
#: The fetch loop polls twice a second, also when nothing is wanted and however long an outage takes. Only a process
#: that hangs while its heartbeat thread lives comes near this; then its partitions go elsewhere.
MAX_POLL_INTERVAL_SECONDS: Final = 60.0
#: One fetch of one partition: some thousand events, so that chunks fill under load.
PARTITION_FETCH_MAX_BYTES: Final = 1_048_576

HandleChunk = Callable[[Chunk], Awaitable[None]]


class ChunkApp(faust_internals.App):
    """A Faust app whose agents receive chunks under leases, and which dies rather than go on past a bug."""

    def __init__(self, *args: Any, source_topics: frozenset[str], chunk_max_records: int, **kwargs: Any) -> None:
        self.leases = LeaseBook()
        self.source_topics = source_topics
        self.chunk_max_records = chunk_max_records
        #: Whether the consumer works. It is set once: it stays so while the app stops.
        self.has_started = False
        super().__init__(*args, **kwargs)

    def new_transport(self) -> ChunkTransport:
        """Return the transport that yields chunks."""
        return ChunkTransport(self.conf.broker_consumer, self)

    @property
    def chunk_consumer(self) -> ChunkConsumer:
        """The consumer, once the app has started."""
        return cast("ChunkConsumer", self.consumer)

    def agent(self, channel: Any, *, name: str, **options: Any) -> Callable[[AgentFun[bytes]], AgentT[bytes]]:  # type: ignore[override]
        """Return what makes an agent of a function.

        Faust's own also looks up the file of every loaded module, for a search of agents that is never started here.
        """

        def register(function: AgentFun[bytes]) -> AgentT[bytes]:
            new_agent = cast("Callable[..., AgentT[bytes]]", self.conf.Agent)
            agent = self.agents[name] = new_agent(function, name=name, app=self, channel=channel, **options)
            return agent

        return register

    def on_rebalance_start(self) -> None:
        """End every lease, in the consumer's thread, before anything else of the rebalance happens."""
        self.leases.revoke_all()
        super().on_rebalance_start()

    def part_crashed(self, reason: BaseException) -> None:
        """End the process when one of Faust's services has crashed."""
        self.die("a part of the worker crashed", reason)

    def die(self, what: str, error: BaseException) -> NoReturn:
        """Stop the process at once, with nothing committed. Going on past a failed chunk would make a gap."""
        if is_denial(error):
            error = denial(error)
        if isinstance(error, ConfigurationError):
            log.error(what, error=str(error))
        else:
            traceback.print_exception(error)
            log.critical(what, error=repr(error))
        sys.stderr.flush()
        os._exit(EXIT_CONFIGURATION if isinstance(error, ConfigurationError) else EXIT_BUG)


class NoRestarts(SupervisorStrategy):
    """Lets go of an agent whose chunk a rebalance cut off; the next assignment starts another.

    Faust's own would start it again at once, for nothing, and ends the worker when two partitions are in the middle
    of a chunk: it allows one restart in 10 ms.
    """

    async def restart_services(self, services: list[ServiceT]) -> None:
        """Restart none."""
        self.discard(*services)


def new_app(
    settings: Settings, name: str, *, source_topics: frozenset[str], data_dir: Path, **options: Any
) -> ChunkApp:
    """Return an app for one stage. Each setting below is deliberate; Faust's defaults are not safe for us."""
    session_timeout_seconds = settings.kafka_session_timeout_ms / 1000
    make_directory(data_dir)
    return ChunkApp(
        f"{settings.topic_prefix}{name}",
        source_topics=source_topics,
        chunk_max_records=settings.chunk_max_records,
        **{
            "broker": [f"kafka://{address}" for address in settings.kafka_bootstrap.split(",")],
            "broker_credentials": credentials(settings),
            "broker_client_id": f"{settings.topic_prefix}{name}",
            "broker_session_timeout": session_timeout_seconds,
            "broker_heartbeat_interval": session_timeout_seconds / HEARTBEATS_PER_SESSION,
            "broker_rebalance_timeout": REBALANCE_TIMEOUT_SECONDS,
            "broker_request_timeout": REQUEST_TIMEOUT_SECONDS,
            "broker_max_poll_interval": MAX_POLL_INTERVAL_SECONDS,
            "broker_commit_livelock_soft_timeout": 3600.0,  # we commit ourselves
            # An offset that the log does not have is an error: going on elsewhere would skip records without a word.
            "consumer_auto_offset_reset": "none",
            # Static membership: a worker that comes back within the session time-out gets its partitions at once.
            "consumer_group_instance_id": f"{settings.topic_prefix}{name}.{settings.worker_id}",
            "consumer_max_fetch_size": PARTITION_FETCH_MAX_BYTES,
            "datadir": str(data_dir),
            "PartitionAssignor": MovingAssignor,
            "key_serializer": "raw",
            "value_serializer": "raw",
            "store": "memory://",
            "stream_wait_empty": False,  # a dead lease's chunk is dropped, so there is nothing to wait for
            "topic_allow_declare": False,  # `tracker topics create` makes topics
            "topic_disable_leader": True,
            "topic_partitions": settings.partitions,
            "topic_replication_factor": settings.replication_factor,
            "web_enabled": False,
            **options,
        },
    )


def add_agent(app: ChunkApp, topic: str, handle: HandleChunk) -> None:
    """Run one agent per partition of a topic; each chunk goes through ``handle`` in order, or is dropped if dead."""
    channel = app.topic(
        topic, key_serializer="raw", value_serializer="raw", acks=False, partitions=None, allow_empty=True
    )

    async def agent(stream: StreamT[bytes]) -> None:
        async for event in stream.events():
            chunk = chunk_of(event.message)
            try:
                if chunk.lease.alive:
                    await handle(chunk)
            except Exception as error:  # noqa: BLE001 - Faust would ack the chunk and go on: that is a gap
                app.die(f"working on {chunk.lease} offsets [{chunk.begin}, {chunk.end}) failed", error)
            finally:
                app.leases.chunk_done(chunk.lease)

    app.agent(channel, isolated_partitions=True, supervisor_strategy=NoRestarts, name=f"{topic}.chunks")(agent)


async def serve(
    app: ChunkApp,
    opener: LeaseOpener,
    *,
    started: Callable[[], None],
    drain: Callable[[], Awaitable[None]],
    stop: Callable[[], Awaitable[None]],
    stand_by: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Run the app until SIGTERM or SIGINT, then stop it cleanly.

    ``drain`` finishes the taken records while the partitions are still ours, for at most DRAIN_TIMEOUT_SECONDS;
    ``stop`` runs after the app has given them up. ``stand_by`` runs in each generation, at the same time as the leases.
    """
    stopping = stop_event()
    recovery = LeaseRecovery(app, opener)
    recovery.stand_by = stand_by
    faust_internals.use_recovery(app, recovery)
    if not await _ends_before(app.start(), stopping):
        log.info("told to stop before Kafka answered")
        _end_whatever_threads_still_do()
        return
    app.has_started = True
    started()
    await stopping.wait()
    app.leases.stop_fetching()
    try:
        async with asyncio.timeout(DRAIN_TIMEOUT_SECONDS):
            await drain()
    except TimeoutError:
        log.warning("not all could be finished; the rest is done again after the next start")
    app.leases.revoke_all()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_SECONDS):
            await app.stop()
            await stop()
    except TimeoutError:
        log.warning("stopping took too long; ending anyway", limit_seconds=STOP_TIMEOUT_SECONDS)
    _end_whatever_threads_still_do()


async def _ends_before(work: Coroutine[Any, Any, None], event: asyncio.Event) -> bool:
    """Wait until some work or an event has come to its end, and return whether it was the work."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        await working
        return True
    finally:
        waiting.cancel()


def _end_whatever_threads_still_do() -> None:
    """Let the process end by itself, but not wait for a thread of Faust's that waits for a broker."""
    timer = threading.Timer(END_TIMEOUT_SECONDS, os._exit, (0,))
    timer.daemon = True
    timer.start()


def watched(app: ChunkApp, forever: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a background task whose failure ends the process, like any other bug."""

    async def run_it() -> None:
        try:
            await forever
        except Exception as error:  # noqa: BLE001 - whatever it is, a silent end would be worse
            app.die("a background task failed", error)

    return asyncio.create_task(run_it())


def run_forever(main: Callable[[], Awaitable[None]]) -> None:
    """Run a stage's main coroutine on uvloop, in every thread that Faust starts too."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    look_for_cycles_rarely()
    asyncio.run(main())  # type: ignore[arg-type] # a coroutine function
