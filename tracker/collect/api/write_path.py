"""The way of records through a request. All endpoints that write take these steps, in this order.

parse (``http``), admit, decode, validate and build records (``records``), deliver, respond.
"""

from collections.abc import Callable
from typing import Any

from topics.headers import Headers
from tracker import clock
from tracker.collect.access.admission import Admission, Sender
from tracker.collect.access.client_address import kept_ip
from tracker.collect.access.cookies import SessionCookie
from tracker.collect.delivery.producer import SourceProducer
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records.context import RecordContext, RecordRules
from tracker.collect.records.json_body import decode_body
from tracker.collect.records.source_records import EncodedRecord, take_sent_at
from tracker.collect.records.visitor import Browser, browser_fields
from tracker.schemas.files import read_schemas
from tracker.settings import Settings


class WritePath:
    """The steps, with the parts of the collector that they need."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        producer: SourceProducer,
        metrics: CollectMetrics,
        record_headers: Callable[[], Headers],
    ) -> None:
        """Share the collector's parts; ``record_headers`` returns the headers of the current request's records."""
        self._settings = settings
        self._admission = admission
        self._producer = producer
        self._record_headers = record_headers
        self._metrics = metrics
        self._rules = RecordRules(settings.session_timeout_seconds, read_schemas(settings.schemas_dir))
        self._cookie = SessionCookie(
            settings.cookie_name, settings.cookie_secure, settings.cookie_same_site, settings.cookie_domain
        )

    def admit(self, request: Request) -> Sender:
        """Return who sends a request, if they may write.

        Raises:
            RequestError: they may not.
        """
        return self._admission.sender(request)

    def charge(self, sender: Sender, events: int) -> None:
        """Count events against the limits of their sender.

        Raises:
            RequestError: a limit is exceeded.
        """
        self._admission.charge(sender.key, events)

    def decode(self, request: Request) -> dict[str, Any]:
        """Return the JSON object in the request's body.

        Raises:
            RequestError: there is none.
        """
        headers = request.headers
        limit_bytes = self._settings.collect_max_body_bytes
        return decode_body(request.body, headers.get("Content-Type"), headers.get("Content-Encoding"), limit_bytes)

    def context(self, request: Request, sender: Sender, fields: dict[str, Any]) -> RecordContext:
        """Return what the request adds to its records; takes ``sent_at`` out of the fields.

        Raises:
            RequestError: ``sent_at`` is not a time.
        """
        key = sender.key
        is_anonymous = sender.policy == "anonymous"
        context = RecordContext(
            self._rules,
            clock.now_ms(),
            clock.new_id,
            sender.session_id,
            "" if key is None else key.workspace_id,
            "" if key is None else key.project_id,
            self._browser(request, sender, is_anonymous=is_anonymous) if sender.is_visitor else None,
            is_anonymous,
            owns=sender.owns,
        )
        return take_sent_at(fields, context)

    def deliver(self, sender: Sender, records: list[EncodedRecord], respond: Callable[[], Response]) -> Reply:
        """Reply once the records are safe: in Kafka, or on disk.

        Raises:
            RequestError: they can't be accepted now.
        """
        delivery = self._producer.deliver(records, self._record_headers())

        def respond_if_safe() -> Response:
            delivery.check()
            return respond()

        return Reply(delivery.ended, respond_if_safe, sender.cors_headers)

    def keep_session(self, response: Response, record: EncodedRecord, sender: Sender, max_age_seconds: int) -> Response:
        """Set or prolong the session cookie, unless the body named the session or the visitor has objected."""
        if record.sets_cookie and sender.policy == "ignore" and self._settings.cookie_write:
            cookie = self._cookie.header(record.session_id, max_age_seconds)
            if cookie is not None:
                response.headers.append(("Set-Cookie", cookie))
        return response

    def count_dropped(self, sender: Sender, events: int) -> None:
        """Count events that are dropped because their visitor has objected to tracking."""
        self._metrics.events_dropped.labels(sender.signal).inc(events)

    def _browser(self, request: Request, sender: Sender, *, is_anonymous: bool) -> bytes:
        headers = request.headers
        browser = Browser(
            headers.get("User-Agent", ""),
            headers.get("Accept-Language", ""),
            *sender.place,
            kept_ip(sender.address, self._settings.ip_policy),
        )
        return browser_fields(browser, is_anonymous=is_anonymous)
