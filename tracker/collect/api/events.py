"""``POST /api/v1/events/track`` and the pixel: one event, or a batch of them."""

from typing import Any

from tracker.collect.access.admission import Sender
from tracker.collect.access.presented_key import query_field
from tracker.collect.api import responses
from tracker.collect.api.write_path import WritePath
from tracker.collect.http.messages import Request, Response
from tracker.collect.http.reply import Reply
from tracker.collect.metrics import CollectMetrics
from tracker.collect.records.event_list import event_list, events_in
from tracker.collect.records.json_body import from_base64url, parse_object
from tracker.collect.records.source_records import event_record
from tracker.settings import Settings


class EventEndpoints:
    """The endpoints for events. Each takes the request of a sender who has been admitted."""

    def __init__(self, settings: Settings, path: WritePath, metrics: CollectMetrics) -> None:
        self._path = path
        self._metrics = metrics
        self._max_age_seconds = settings.session_timeout_seconds

    def track(self, request: Request, sender: Sender) -> Reply:
        """Take the events in the body."""
        return self._track(request, sender, self._path.decode(request))

    def pixel(self, request: Request, sender: Sender) -> Reply:
        """Take the events in the query, from pages without scripts."""
        return self._track(request, sender, parse_object(from_base64url(query_field(request.query, "d"))))

    def _track(self, request: Request, sender: Sender, fields: dict[str, Any]) -> Reply:
        track = self._track_batch if "batch" in fields else self._track_one
        return track(request, sender, fields)

    def _track_one(self, request: Request, sender: Sender, fields: dict[str, Any]) -> Reply:
        path = self._path
        if sender.policy == "drop":
            path.count(sender, 1, ())
            path.count_dropped(sender, 1)
            return Reply.now(responses.dropped(sender.signal, None))
        record = event_record(fields, path.context(request, sender, fields))
        path.count(sender, 1, (record.session_id,))

        def respond() -> Response:
            return path.keep_session(responses.accepted(record), record, sender, self._max_age_seconds)

        return path.deliver(sender, [record], respond)

    def _track_batch(self, request: Request, sender: Sender, fields: dict[str, Any]) -> Reply:
        path = self._path
        events = events_in(fields)
        if sender.policy == "drop":
            path.count(sender, len(events), ())
            path.count_dropped(sender, len(events))
            return Reply.now(responses.dropped(sender.signal, len(events)))
        results = event_list(events, path.context(request, sender, fields))
        records = results.records
        refused = len(events) - len(records)
        path.count(sender, len(records), {record.session_id for record in records}, refused=refused)
        self._metrics.events_rejected.inc(refused)
        if not records:
            return Reply.now(responses.verdicts(results.results))

        def respond() -> Response:
            keeper = next((record for record in records if record.sets_cookie), records[0])
            return path.keep_session(responses.verdicts(results.results), keeper, sender, self._max_age_seconds)

        return path.deliver(sender, records, respond)
