"""Requests as the records' tests make them."""

import itertools
from typing import Any

import orjson
import pytest

from tracker.collect.errors import RequestError
from tracker.collect.records.context import RecordContext, RecordRules
from tracker.collect.records.event_list import EventList, event_list, events_in
from tracker.collect.records.json_body import parse_object
from tracker.collect.records.source_records import EncodedRecord, event_record, session_record, take_sent_at

NOW = "2026-01-02T03:04:05.678Z"
NOW_MS = 1_767_323_045_678


def context(offered_session_id: str | None = None, **changes: Any) -> RecordContext:
    ids = (f"minted-{number}" for number in itertools.count(1))
    given = {"rules": RecordRules(), "now_ms": NOW_MS, "new_id": lambda: next(ids)}
    return RecordContext(**{**given, "offered_session_id": offered_session_id, **changes})


def event(body: object, offered_session_id: str | None = None, **changes: Any) -> EncodedRecord:
    fields = parse_object(orjson.dumps(body))
    return event_record(fields, context(offered_session_id, sent_at_ms=take_sent_at(fields), **changes))


def events(body: dict[str, Any], **changes: Any) -> EventList:
    fields = parse_object(orjson.dumps(body))
    listed = events_in(fields)
    return event_list(listed, context(sent_at_ms=take_sent_at(fields), **changes))


def session(body: object, default_seconds: int = RecordRules().default_timeout_seconds) -> EncodedRecord:
    return session_record(parse_object(orjson.dumps(body)), context(rules=RecordRules(default_seconds)))


def refused(body: Any, make: Any = event, **changes: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        make(body, **changes)
    return caught.value
