"""The way of records through a request. All endpoints that write take these steps, in this order.

parse (``http``), admit, decode, validate and build records (``records``), deliver, respond.
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, Final

from topics.headers import Headers
from topics.schemas import Schemas
from tracker import clock
from tracker.collect.access.admission import Admission, Sender
from tracker.collect.access.client_address import kept_ip
from tracker.collect.access.consent import visitor_after
from tracker.collect.access.cookies import IdCookie
from tracker.collect.access.geo import Place
from tracker.collect.api.routes import Endpoint
from tracker.collect.delivery.producer import SourceProducer
from tracker.collect.errors import ErrorCode, RequestError
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.metrics import CollectMetrics
from tracker.collect.quotas.quotas import Quotas
from tracker.collect.records.context import RecordContext, RecordRules
from tracker.collect.records.event_time import TimeLimits
from tracker.collect.records.json_body import check_media_type, unpack
from tracker.collect.records.personal_data import new_personal_data
from tracker.collect.records.source_records import EncodedRecord
from tracker.settings import Settings
from tracker.visitors.browser import BROWSER_CACHE_ENTRIES, Browser, browser_fields
from tracker.visitors.page import new_page_reader

#: A request that is refused for one of these reasons has cost work, and is counted as an invalid event.
_INVALID: Final[frozenset[ErrorCode]] = frozenset(
    {"not_json", "invalid", "bad_request", "bad_session_id", "oversized", "unsupported_media_type"}
)

#: 13 months: the longest that the French data protection authority (CNIL) allows. The cookie is not prolonged.
VISITOR_COOKIE_SECONDS: Final = 395 * 86_400

#: Takes the events of a request whose sender has been admitted.
Take = Callable[[Request, Sender], Reply]


class WritePath:
    """The steps, with the parts of the collector that they need."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        producer: SourceProducer,
        metrics: CollectMetrics,
        record_headers: Callable[[], Headers],
        *,
        quotas: Quotas,
        schemas: Schemas,
    ) -> None:
        """Share the collector's parts; ``record_headers`` returns the headers of the current request's records.

        Raises:
            ConfigurationError: one of the settings about records is not valid.
        """
        self._settings = settings
        self._admission = admission
        self._limits = admission.limits
        self._producer = producer
        self._record_headers = record_headers
        self._metrics = metrics
        self._quotas = quotas
        #: What the settings say about records.
        self.rules = record_rules(settings, schemas)
        self._browser_fields = lru_cache(maxsize=BROWSER_CACHE_ENTRIES)(self._browser)
        attributes = settings.cookie_secure, settings.cookie_same_site, settings.cookie_domain
        self._cookie = IdCookie(settings.cookie_name, *attributes)
        self._visitor_cookie = IdCookie(settings.visitor_cookie_name, *attributes)

    def endpoint(self, take: Take, *, uses_quota: bool = True) -> Endpoint:
        """Return an endpoint that admits the sender first, and counts a request that is refused as invalid.

        One that ``uses_quota`` is refused, unread, to a workspace that has sent its events of today.
        """

        def handle(request: Request) -> Reply:
            sender = self._admission.sender(request)
            try:
                if uses_quota:
                    self._quotas.check(sender.key, clock.now_ms())
                return take(request, sender)
            except RequestError as error:
                if error.code in _INVALID:
                    self._limits.invalid(sender.account, 1)
                raise

        return handle

    def count(self, sender: Sender, events: int, session_ids: Collection[str], *, refused: int = 0) -> None:
        """Count valid events and their sessions against the limits of their sender, and those that were refused.

        Raises:
            RequestError: ``rate_limited``: none of them may be accepted.
        """
        if refused:
            self._limits.invalid(sender.account, refused)
        if events:
            self._limits.accept(sender.account, events, session_ids)

    def body(self, request: Request) -> bytes:
        """Return the request's body without its content encoding.

        Raises:
            RequestError: it does not claim to be JSON or plain text, or is too large.
        """
        headers = request.headers
        check_media_type(headers.get("Content-Type"))
        encoding = headers.get("Content-Encoding")
        return (
            request.body if encoding is None else unpack(request.body, encoding, self._settings.collect_max_body_bytes)
        )

    def context(self, request: Request, sender: Sender, sent_at_ms: int | None) -> RecordContext:
        """Return what the request adds to its records; ``sent_at_ms``: when the client says that it has sent them."""
        key = sender.key
        is_anonymous = sender.policy == "anonymous"
        return RecordContext(
            self.rules,
            clock.now_ms(),
            clock.new_id,
            sender.session_id,
            sender.visitor_id,
            "" if key is None else key.workspace_id,
            "" if key is None else key.project_id,
            self._of_browser(request, sender, is_anonymous=is_anonymous) if sender.is_visitor else None,
            is_anonymous,
            sent_at_ms,
            sender.owns,
        )

    def deliver(self, sender: Sender, records: list[EncodedRecord], respond: Callable[[], Response]) -> Reply:
        """Reply once the records are safe: in Kafka, or on disk.

        Raises:
            RequestError: they can't be accepted now.
        """
        delivery = self._producer.deliver(records, self._record_headers())

        def respond_if_safe() -> Response:
            delivery.check()
            response = respond()
            response.headers += self._quotas.headers(sender.key, clock.now_ms())
            return response

        return Reply(delivery.ended, respond_if_safe, sender.cors_headers)

    def keep_session(self, response: Response, record: EncodedRecord, sender: Sender, max_age_seconds: int) -> Response:
        """Set or prolong the session cookie, unless the body named the session or the sender may not keep one."""
        if record.sets_cookie and sender.keeps_cookie and self._settings.cookie_write:
            cookie = self._cookie.header(record.session_id, max_age_seconds)
            if cookie is not None:
                response.headers.append(("Set-Cookie", cookie))
        return response

    def visitor_id(self, sender: Sender, fields: dict[str, Any]) -> str:
        """Return the visitor of a session record, as the answer in it about analytics has it."""
        may_mint = sender.keeps_visitor and not fields.get("visitor_id")
        return visitor_after(fields.get("consent_analytics"), sender.visitor_id, may_mint=may_mint, new_id=clock.new_id)

    def keep_visitor(self, response: Response, visitor_id: str, sender: Sender) -> Response:
        """Set the visitor's cookie, or remove it, if this is another visitor than the sender's cookie names."""
        if sender.keeps_visitor and visitor_id != sender.visitor_id:
            cookie = self._visitor_cookie.header(visitor_id, VISITOR_COOKIE_SECONDS) or self._visitor_cookie.removal()
            response.headers.append(("Set-Cookie", cookie))
        return response

    def drop(self, sender: Sender, events: int, response: Response) -> Reply:
        """Reply at once; the events are dropped, because their visitor has objected to tracking. They are counted.

        Raises:
            RequestError: ``rate_limited``.
        """
        self.count(sender, events, ())
        self._metrics.events_dropped.labels(sender.signal).inc(events)
        return Reply.now(response)

    def _of_browser(self, request: Request, sender: Sender, *, is_anonymous: bool) -> bytes:
        headers = request.headers
        user_agent, language = headers.get("User-Agent", ""), headers.get("Accept-Language", "")
        return self._browser_fields(user_agent, language, sender.place, sender.address, is_anonymous)

    def _browser(
        self,
        user_agent: str,
        language: str,
        place: Place,
        address: str,
        is_anonymous: bool,  # noqa: FBT001 - cached
    ) -> bytes:
        browser = Browser(user_agent, language, *place, kept_ip(address, self._settings.ip_policy))
        return browser_fields(browser, is_anonymous=is_anonymous)


def record_rules(settings: Settings, schemas: Schemas) -> RecordRules:
    """Return what the settings say about records.

    Raises:
        ConfigurationError: one of the settings about records is not valid.
    """
    pages = new_page_reader(settings.campaign_parameters)
    limits = TimeLimits(settings.collect_max_event_age_seconds, settings.collect_max_event_ahead_seconds)
    personal_data = new_personal_data(
        settings.url_parameters_dropped,
        settings.url_parameters_hashed,
        settings.email_policy,
        settings.personal_data_secret.get_secret_value(),
    )
    return RecordRules(settings.session_timeout_seconds, schemas, limits, pages, personal_data)
