"""``POST /api/v1/events/track`` and the pixel: one event, or a batch of them."""

from typing import Any

from tracker.collect.access.admission import Sender
from tracker.collect.access.presented_key import query_field
from tracker.collect.api import responses
from tracker.collect.api.write_path import WritePath
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records.event_list import EventList, event_list, events_in
from tracker.collect.records.json_body import from_base64url, parse_object
from tracker.collect.records.plain_events import plain_records, plain_request
from tracker.collect.records.source_records import EncodedRecord, event_record, take_sent_at
from tracker.settings import Settings


class EventEndpoints:
    """The endpoints for events. Each takes the request of a sender who has been admitted."""

    def __init__(self, settings: Settings, path: WritePath, metrics: CollectMetrics) -> None:
        self._path = path
        self._metrics = metrics
        self._max_age_seconds = settings.session_timeout_seconds

    def track(self, request: Request, sender: Sender) -> Reply:
        """Take the events in the body."""
        return self._track(request, sender, self._path.body(request))

    def pixel(self, request: Request, sender: Sender) -> Reply:
        """Take the events in the query, from pages without scripts."""
        return self._track(request, sender, from_base64url(query_field(request.query, "d")))

    def _track(self, request: Request, sender: Sender, body: bytes) -> Reply:
        plain = None if sender.policy == "drop" else plain_request(body, self._path.rules)
        if plain is not None:
            records = plain_records(plain.events, self._path.context(request, sender, plain.sent_at_ms))
            if records is not None:
                if plain.is_batch:
                    return self._deliver_list(sender, EventList(records))
                return self._deliver(sender, *records)
        fields = parse_object(body)
        track = self._track_batch if "batch" in fields else self._track_one
        return track(request, sender, fields)

    def _track_one(self, request: Request, sender: Sender, fields: dict[str, Any]) -> Reply:
        if sender.policy == "drop":
            return self._path.drop(sender, 1, responses.dropped(sender.signal, None))
        return self._deliver(sender, event_record(fields, self._path.context(request, sender, take_sent_at(fields))))

    def _track_batch(self, request: Request, sender: Sender, fields: dict[str, Any]) -> Reply:
        events = events_in(fields)
        if sender.policy == "drop":
            return self._path.drop(sender, len(events), responses.dropped(sender.signal, len(events)))
        return self._deliver_list(sender, event_list(events, self._path.context(request, sender, take_sent_at(fields))))

    def _deliver(self, sender: Sender, record: EncodedRecord) -> Reply:
        path = self._path
        path.count(sender, 1, (record.session_id,))

        def respond() -> Response:
            return path.keep_session(responses.accepted(record), record, sender, self._max_age_seconds)

        return path.deliver(sender, [record], respond)

    def _deliver_list(self, sender: Sender, results: EventList) -> Reply:
        path, records = self._path, results.records
        refused = len(results.results) - len(records)
        path.count(sender, len(records), {record.session_id for record in records}, refused=refused)
        self._metrics.events_rejected.inc(refused)
        if not records:
            return Reply.now(responses.verdicts(results.results))

        def respond() -> Response:
            keeper = next((record for record in records if record.sets_cookie), records[0])
            return path.keep_session(responses.verdicts(results.results), keeper, sender, self._max_age_seconds)

        return path.deliver(sender, records, respond)
