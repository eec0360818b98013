"""The events of one request with a ``batch``: each is checked by itself."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from topics.records import are_valid_events
from tracker.collect.errors import RequestError
from tracker.collect.records.context import RecordContext
from tracker.collect.records.source_records import EncodedRecord, add_visitor, check, event_page, unchecked_event

#: Events in one request.
MAX_BATCH_EVENTS: Final = 500


class EventList(NamedTuple):
    """The result for each event, in the order of the request: its record, or why it is refused."""

    results: Sequence[EncodedRecord | RequestError]

    @property
    def records(self) -> list[EncodedRecord]:
        """The records of the events that can be accepted."""
        return [result for result in self.results if isinstance(result, EncodedRecord)]


def events_in(fields: dict[str, Any]) -> list[Any]:
    """Return the events of ``{"batch": [event, …], "sent_at": time}`` as they were sent.

    Raises:
        RequestError: it has another form, or too many events.
    """
    events = fields["batch"]
    if not isinstance(events, list) or not events or fields.keys() - {"batch", "sent_at"}:
        reason = "batch: must be a list of events; only sent_at may stand next to it"
        raise RequestError("invalid", "this is not a valid batch", reasons=[reason])
    if len(events) > MAX_BATCH_EVENTS:
        reason = f"batch: {len(events)} events; the limit is {MAX_BATCH_EVENTS}"
        raise RequestError("oversized", "this batch is too large", reasons=[reason])
    return events


def event_list(events: list[Any], context: RecordContext) -> EventList:
    """Make the records of several events.

    Events that name no session share one: a page that is left before its first response has no cookie yet. Only the
    first event of each session carries the visitor (docs/decisions/0033).
    """
    if context.offered_session_id is None:
        context = msgspec.structs.replace(context, offered_session_id=context.new_id())
    results = [_draft(event, context) for event in events]
    are_valid = are_valid_events([result.value for result in results if isinstance(result, EncodedRecord)])
    with_visitor: set[str] = set()
    for index, result in enumerate(results):
        if isinstance(result, EncodedRecord) and not (are_valid and result.session_id in with_visitor):
            try:
                if not are_valid:
                    check(result, "event")
                if result.session_id not in with_visitor:
                    add_visitor(result, event_page(events[index]), context, "event")
                    with_visitor.add(result.session_id)
            except RequestError as error:
                results[index] = error
    return EventList(results)


def _draft(fields: Any, context: RecordContext) -> EncodedRecord | RequestError:
    try:
        return unchecked_event(fields, context)
    except RequestError as error:
        return error
