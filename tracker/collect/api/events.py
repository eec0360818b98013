"""The endpoints that take something: events, sessions, what acts on them."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Literal

from topics.headers import Headers
from tracker import clock
from tracker.collect.access.admission import Edge, Sender, query_fields
from tracker.collect.access.cookies import SessionCookie
from tracker.collect.api import responses as answers
from tracker.collect.api.routes import SESSION
from tracker.collect.delivery.producer import SourceProducer
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Answer, Pending, Request, Response
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records import body as bodies
from tracker.collect.records import build as requests
from tracker.settings import Settings


class Intake:
    """Who may send, what of it is taken, and what the sender is told."""

    def __init__(
        self,
        settings: Settings,
        edge: Edge,
        producer: SourceProducer,
        metrics: CollectMetrics,
        record_headers: Callable[[], Headers],
    ) -> None:
        """Share the collector's parts; ``record_headers`` gives what the current request's records carry."""
        self._settings = settings
        self._edge = edge
        self._producer = producer
        self._metrics = metrics
        self._record_headers = record_headers
        self._cookie = SessionCookie(
            settings.cookie_name, settings.cookie_secure, settings.cookie_same_site, settings.cookie_domain
        )

    def track(self, request: Request) -> Answer:
        """Take one event, or a batch of them."""
        sender = self._edge.sender(request)
        return self._track(self._fields(request), sender)

    def pixel(self, request: Request) -> Answer:
        """Take one event from the query, where there is no script; the answer is an image, come what may."""
        try:
            sender = self._edge.sender(request)
            event = bodies.parse_object(bodies.from_base64url(query_fields(request.query).get("d")))
            answer = self._track(event, sender)
        except RequestError as error:
            return answers.pixel(answers.failed(error))
        return answers.pixel(answer) if isinstance(answer, Response) else _pixel(answer)

    def open_session(self, request: Request) -> Answer:
        """Open a session, or add to its context."""
        sender = self._edge.sender(request)
        fields = self._fields(request)
        self._edge.charge(sender.key, 1)
        if sender.policy == "drop":
            self._metrics.events_dropped.labels(sender.signal).inc()
            return answers.dropped(sender.signal, None)
        default_seconds = self._settings.session_timeout_seconds
        record = requests.session_record(fields, _context(sender, fields), default_timeout_seconds=default_seconds)
        max_age_seconds = fields.get("timeout_seconds", default_seconds)
        return self._deliver([record], self._keeping(answers.accepted(record), record, sender, max_age_seconds))

    def expire_session(self, request: Request) -> Answer:
        """Close a session at this place in the log, if it belongs to the key's workspace."""
        return self._control("expire", request, request.path.removeprefix(SESSION + "/"))

    def flush_session(self, request: Request) -> Answer:
        """Have what is numbered of a session so far shipped without waiting for a batch to fill."""
        return self._control("flush", request, request.path.removeprefix(SESSION + "/").removesuffix("/flush"))

    def _control(self, type_: Literal["expire", "flush"], request: Request, raw_id: str) -> Answer:
        sender = self._edge.sender(request)
        self._edge.charge(sender.key, 1)
        workspace_id = "" if sender.key is None else sender.key.workspace_id
        session_id = requests.session_id_from_path(raw_id)
        record = requests.control_record(type_, session_id, clock.now_ms(), workspace_id)
        return self._deliver([record], answers.accepted(record))

    def _track(self, fields: dict[str, Any], sender: Sender) -> Answer:
        events = len(requests.batch_events(fields)) if "batch" in fields else None
        self._edge.charge(sender.key, events or 1)
        if sender.policy == "drop":
            self._metrics.events_dropped.labels(sender.signal).inc(events or 1)
            return answers.dropped(sender.signal, events)
        context = _context(sender, fields)
        max_age_seconds = self._settings.session_timeout_seconds
        if events is None:
            record = requests.event_record(fields, context)
            return self._deliver([record], self._keeping(answers.accepted(record), record, sender, max_age_seconds))
        batch = requests.event_batch(fields, context)
        self._metrics.events_rejected.inc(events - len(batch.records))
        response = answers.batch_verdicts(batch)
        if not batch.records:
            return response
        kept = next((record for record in batch.records if record.cookie), batch.records[0])
        return self._deliver(batch.records, self._keeping(response, kept, sender, max_age_seconds))

    def _deliver(self, records: list[requests.Outgoing], response: Response) -> Pending:
        """Answer once the records are safe. Nearly always they share one batch: then it costs no task."""
        taken = self._producer.take(records, self._record_headers())
        settled = taken[0] if len(taken) == 1 else asyncio.ensure_future(_all_settled(taken))
        return Pending(settled, partial(self._safe, taken, response))

    def _safe(self, taken: "list[asyncio.Future[None]]", response: Response) -> Response:
        for each in taken:
            self._producer.require_safe(each)
        return response

    def _fields(self, request: Request) -> dict[str, Any]:
        bodies.check_media_type(request.headers.get("Content-Type"))
        body, encoding = request.body, request.headers.get("Content-Encoding")
        if encoding is not None:
            body = bodies.unpack(body, encoding, self._settings.collect_max_body_bytes)
        return bodies.parse_object(body)

    def _keeping(self, response: Response, record: requests.Outgoing, sender: Sender, max_age_seconds: int) -> Response:
        """Set the cookie, or move its end, if the record's session came from there or was minted."""
        if record.cookie and sender.policy == "ignore" and self._settings.cookie_write:
            cookie = self._cookie.header(record.session_id, max_age_seconds)
            if cookie is not None:
                response.headers.append(("Set-Cookie", cookie))
        return response


def _context(sender: Sender, fields: dict[str, Any]) -> requests.Context:
    key = sender.key
    return requests.Context(
        clock.now_ms(),
        clock.new_id,
        sender.session_id,
        "" if key is None else key.workspace_id,
        "" if key is None else key.project_id,
        sender.browser,
        sender.policy == "anonymous",
        requests.taken_sent_at(fields),
    )


async def _pixel(answer: Pending | Coroutine[Any, Any, Response]) -> Response:
    try:
        return answers.pixel(await answer)
    except RequestError as error:
        return answers.pixel(answers.failed(error))


async def _all_settled(taken: "list[asyncio.Future[None]]") -> None:
    await asyncio.wait(taken)
