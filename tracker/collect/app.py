"""The collector's application: its parts, and the routes to its endpoints."""

import contextlib
import math
from collections.abc import Callable
from functools import partial

import structlog

from topics.headers import Headers as RecordHeaders
from tracker.collect.access.admission import Admission
from tracker.collect.access.client_address import counted_as
from tracker.collect.access.keys import KeyRing, everybody_may_read, read_keys
from tracker.collect.api import responses
from tracker.collect.api.dispatch import PROBES, Dispatcher
from tracker.collect.api.events import EventEndpoints
from tracker.collect.api.operations import OperationsEndpoints
from tracker.collect.api.pages import described, script_routes, static
from tracker.collect.api.readiness import Readiness
from tracker.collect.api.reports import ReportEndpoints
from tracker.collect.api.routes import PIXEL, SESSION, TRACK, Route, Routes
from tracker.collect.api.session_queries import SessionQueries, new_http_session
from tracker.collect.api.sessions import SessionEndpoints
from tracker.collect.api.write_path import WritePath
from tracker.collect.delivery.kafka_connection import ProducerFactory
from tracker.collect.delivery.producer import SourceProducer
from tracker.collect.delivery.record_batch import NO_HEADERS
from tracker.collect.delivery.topic_router import TopicRouter
from tracker.collect.errors import RequestError
from tracker.collect.http.connection_limits import ConnectionLimits
from tracker.collect.http.reply import Handler
from tracker.collect.live.feed import LiveFeed
from tracker.collect.metrics import CollectMetrics
from tracker.collect.quotas.quotas import Quotas, why_not_counted
from tracker.collect.quotas.reader import QuotaReader
from tracker.collect.reports.pipes import ReportPipes, new_report_session
from tracker.errors import ConfigurationError
from tracker.kafka.clients import new_producer
from tracker.migration.flags import Flags, read_flags
from tracker.observe.internal_token import InternalToken
from tracker.processes.supervised_tasks import SupervisedTasks
from tracker.processes.watched_file import WatchedFile
from tracker.schemas.watched import watched_schemas
from tracker.settings import Settings
from tracker.visitors.browser import read_tables

log = structlog.get_logger()


class Collector:
    """The endpoints and the parts that they share. A server calls ``handle``."""

    def __init__(
        self,
        settings: Settings,
        record_headers: Callable[[], RecordHeaders] = lambda: NO_HEADERS,
        *,
        make_producer: ProducerFactory = new_producer,
    ) -> None:
        """Put the parts together; ``record_headers`` returns the headers of the current request's records.

        Raises:
            ConfigurationError: a file in the settings can't be used.
        """
        self._settings = settings
        self.metrics = CollectMetrics()
        self._quotas = Quotas(self.metrics.access)
        self._keys_file = self._watched_keys(settings)
        keys = None if self._keys_file is None else self._keys_file.value
        self._admission = Admission(settings, keys, self.metrics.access)
        self._flags_file, self._router = watched_flags(settings)
        self._producer = SourceProducer(settings, self._router, self.metrics, make_producer=make_producer)
        self._readiness = Readiness(self._producer, self._flags_file)
        self._live = LiveFeed(settings)
        self._reports = ReportEndpoints(self._admission)
        self._resources = contextlib.AsyncExitStack()
        schemas, self._schemas_file = watched_schemas(settings.schemas_dir)
        path = WritePath(
            settings,
            self._admission,
            self._producer,
            self.metrics,
            record_headers,
            quotas=self._quotas,
            schemas=schemas,
        )
        self._sessions = SessionEndpoints(settings, path, self._admission)
        self.routes = self._routes(EventEndpoints(settings, path, self.metrics), path)
        #: Replies to a request.
        self.handle: Handler = Dispatcher(self.routes, self._admission, self.metrics).handle
        self._use_keys()

    async def start(self, tasks: SupervisedTasks) -> None:
        """Open the spill and begin to connect to Kafka; does not wait for it.

        Raises:
            ConfigurationError: the spill's directory can't be used.
        """
        read_tables()
        await self._producer.start(tasks)
        self._readiness.tasks = tasks
        self._live.start(tasks)
        if self._keys_file is not None:
            tasks.loop("keys file watch", self._keys_file.watch)
            tasks.loop("quotas", QuotaReader(self._settings, self._quotas, self.metrics.access).run)
        if self._flags_file is not None:
            tasks.loop("migration file watch", self._flags_file.watch)
        if self._schemas_file is not None:
            tasks.loop("schemas watch", self._schemas_file.watch)
        http = await self._resources.enter_async_context(new_http_session())
        self._sessions.queries = SessionQueries(self._settings, http)
        reports_http = await self._resources.enter_async_context(new_report_session())
        self._reports.pipes = ReportPipes(self._settings, reports_http)

    async def until_direct(self, limit_seconds: float) -> None:
        """Wait until events go to Kafka directly, but not longer than this."""
        await self._producer.until_direct(limit_seconds)

    async def stop(self) -> None:
        """Flush and close everything; no request may be under way any more."""
        await self._live.stop()
        await self._producer.stop()
        await self._resources.aclose()
        self._admission.close()

    def connection_limits(self) -> ConnectionLimits:
        """Return the limits of the server's connections. Those of our own proxies have none by address."""
        processes = max(1, self._settings.collect_processes)
        return ConnectionLimits(
            self._settings.collect_max_connections,
            math.ceil(self._settings.collect_ip_max_connections / processes),
            lambda peer: None if self._admission.proxies.trusts(peer) else counted_as(peer),
            self._admission.limits.must_wait,
            PROBES,
        )

    def count_refused(self, error: RequestError) -> None:
        """Count a request or a connection that the server has refused by itself."""
        self.metrics.count_request("refused", error.status)
        if error.code == "rate_limited":
            self.metrics.access.count_limited("address_connections")

    def _routes(self, events: EventEndpoints, path: WritePath) -> Routes:
        sessions, writing = self._sessions, path.endpoint
        ending = partial(writing, uses_quota=False)
        operations = OperationsEndpoints(self._admission, self._readiness, self._live, InternalToken.of(self._settings))
        fixed = (
            Route(TRACK, {"POST": writing(events.track)}),
            Route(SESSION, {"POST": writing(sessions.open_session)}),
            Route(PIXEL, {"GET": writing(events.pixel)}, responses.as_pixel),
            Route("/healthz", {"GET": operations.health}),
            Route("/readyz", {"GET": operations.ready}),
            *script_routes(),
            Route("/demo", {"GET": static("demo.html", "text/html")}),
            Route("/live", {"GET": static("live.html", "text/html")}),
            Route("/live/data", {"GET": operations.live_data}),
            Route("/reports", {"GET": static("reports.html", "text/html")}),
            Route("/reports.js", {"GET": static("reports.js", "text/javascript")}),
            Route("/reports.css", {"GET": static("reports.css", "text/css")}),
            Route("/reports/data", {"GET": self._reports.data}),
            Route("/docs", {"GET": static("docs.html", "text/html")}),
            Route("/openapi.json", {"GET": described(self._settings)}),
        )
        return Routes(
            fixed,
            session={"GET": sessions.session_state, "DELETE": ending(sessions.expire_session)},
            flush={"POST": ending(sessions.flush_session)},
        )

    def _watched_keys(self, settings: Settings) -> WatchedFile[KeyRing] | None:
        if settings.keys_file is None:
            return None
        file = WatchedFile(
            settings.keys_file,
            read_keys,
            what="keys file",
            check=lambda _old, new: why_not_counted(settings, new),
            on_change=self._use_keys,
        )
        if (problem := why_not_counted(settings, file.value)) is not None:
            raise ConfigurationError(problem)
        return file

    def _use_keys(self) -> None:
        path = self._settings.keys_file
        if self._keys_file is None or path is None:
            return
        if everybody_may_read(path):
            log.warning("every user of this machine may read the keys file: chmod 640", path=str(path))
        self._admission.use_keys(self._keys_file.value)
        self._quotas.use(self._keys_file.value.quotas)
        self.metrics.access.keys.set(len(self._keys_file.value))
        self.metrics.access.keys_file_valid.set(self._keys_file.problem is None)


def watched_flags(settings: Settings) -> tuple[WatchedFile[Flags] | None, TopicRouter]:
    """Return the file with the flags of a migration, if there is one, and the router that uses them."""
    if settings.migration_file is None:
        return None, TopicRouter(settings, None)
    router = TopicRouter(settings, read_flags(settings.migration_file))

    def use_flags() -> None:
        router.flags = file.value

    file = WatchedFile(
        settings.migration_file, read_flags, what="migration file", check=router.why_not, on_change=use_flags
    )
    use_flags()
    return file, router
