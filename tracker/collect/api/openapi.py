"""The OpenAPI 3.1 document of the collector, made from its own types, limits and table of errors. Pure."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final

from pydantic import TypeAdapter

from tracker.collect.api.schemas import SHAPES
from tracker.collect.api.script_files import read_build
from tracker.collect.errors import HTTP_STATUS, ErrorCode
from tracker.collect.records.context import RecordRules
from tracker.collect.records.event_list import MAX_BATCH_EVENTS
from tracker.collect.records.json_body import MAX_JSON_DEPTH
from tracker.collect.reports.parameters import described_parameters

Json = dict[str, Any]

_REF: Final = "#/components/schemas/"
_RETRY_STATUS: Final = frozenset({429, 503})

#: What any request may be told before its endpoint is asked, or instead of an answer.
_ANYWHERE: Final[tuple[ErrorCode, ...]] = (
    "bad_request",
    "method_not_allowed",
    "body_timeout",
    "oversized",
    "headers_too_large",
    "http_version",
    "rate_limited",
    "internal",
    "overloaded",
)
_WRITING: Final[tuple[ErrorCode, ...]] = (*_ANYWHERE, "unauthorized", "forbidden", "kafka_unavailable", "spill_full")
_BODY: Final[tuple[ErrorCode, ...]] = (*_WRITING, "not_json", "invalid", "unsupported_media_type")
_PIXEL: Final[tuple[ErrorCode, ...]] = (*_WRITING, "not_json", "invalid")
_CONTROL: Final[tuple[ErrorCode, ...]] = (*_WRITING, "bad_session_id")
_WATCHING: Final[tuple[ErrorCode, ...]] = (*_ANYWHERE, "unauthorized", "forbidden")
_READING: Final[tuple[ErrorCode, ...]] = (*_WATCHING, "bad_session_id", "unknown_session", "processor_unavailable")
_REPORTING: Final[tuple[ErrorCode, ...]] = (*_WATCHING, "invalid", "tinybird_unavailable")

_UNCHANGED: Final[Json] = {"description": "You have it already, as If-None-Match says."}
_WRITE_KEY: Final[list[Json]] = [{"writeKey": []}, {"writeKeyBearer": []}, {"writeKeyQuery": []}, {}]
_READ_KEY: Final[list[Json]] = [{"readKey": []}, {}]
_EVENT: Final = {
    "event_type": "conversion",
    "event_id": "order-1042",
    "event_value": "49.90",
    "event_value_type": "EUR",
    "page_url": "https://shop.example/thanks",
}
_SESSION: Final = {
    "landing_page_id": "spring",
    "ab_test_id": "headline",
    "ab_test_variant_id": "b",
    "page_url": "https://shop.example/spring?utm_source=mail",
}
_SESSION_QUERY: Final = {
    "name": "session",
    "in": "query",
    "description": "The session id to use where neither the body nor a cookie names one.",
    "schema": {"type": "string", "maxLength": 128},
}
_SESSION_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The session id, percent-encoded.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    "example": "0197f2d0-5d0b-7c3e-9f25-6a6a3f1f3f11",
}
_PIXEL_EVENT: Final = {
    "name": "d",
    "in": "query",
    "required": True,
    "description": "An event's (or a batch's) JSON as base64url, with or without padding.",
    "schema": {"type": "string"},
    "example": "eyJldmVudF90eXBlIjoicGFnZXZpZXcifQ",
}

_ABOUT: Final = f"""
202 means that it is safe: in Kafka on all in-sync replicas, or on disk while Kafka is away.

**Try again** after 408, 429, 5xx or no answer, after `Retry-After` seconds, with the same `event_id`: it counts once.
Any other 4xx stays what it is. **Keys**: where the collector has any, a write key goes with what is sent, a read key
with what is asked. **Bodies** are JSON, also as `text/plain` (sendBeacon), plain or `Content-Encoding: gzip` or
`deflate`, at most {MAX_JSON_DEPTH} deep. **Time**: with `sent_at` a wrong clock does no harm.
""".strip()


def document(*, max_body_bytes: int, default_timeout_seconds: int) -> Json:
    """Return the document of a collector with these limits."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tracker collector",
            "version": version("event-tracker"),
            "description": f"{_ABOUT} At most {max_body_bytes} bytes, unpacked too.",
        },
        "servers": [{"url": "/", "description": "the collector that serves this document"}],
        "tags": [
            {"name": "events", "description": "what happened"},
            {"name": "sessions", "description": "who it happened to"},
            {"name": "operations", "description": "for probes and Prometheus; keep them from strangers at your proxy"},
            {"name": "pages", "description": "for people and browsers"},
        ],
        "paths": {**_events(), **_sessions(), **_operations(), **_pages()},
        "components": {"schemas": _schemas(default_timeout_seconds), "securitySchemes": _security_schemes()},
    }


def _events() -> Json:
    taken = _answer("Taken, or dropped as the visitor wishes.", "EventAccepted", "BatchVerdicts", "Dropped")
    track = {
        **_operation("events", "trackEvents", f"Track one event, or a batch of up to {MAX_BATCH_EVENTS}", _BODY),
        "security": _WRITE_KEY,
        "parameters": [_SESSION_QUERY],
        "requestBody": _body(
            ("SingleEvent", "EventBatch"),
            {
                "conversion": _EVENT,
                "batch": {"batch": [{"event_type": "pageview", "event_id": "view-1"}, _EVENT]},
            },
        ),
    }
    track["responses"]["202"] = _with_cookie(taken)
    pixel = {
        **_operation(
            "events", "trackByPixel", "Track where there is no script: always an image, the status tells", _PIXEL
        ),
        "security": [{"writeKeyQuery": []}, {}],
        "parameters": [_PIXEL_EVENT, _SESSION_QUERY],
    }
    image = {"image/gif": {"schema": {"type": "string", "contentMediaType": "image/gif"}}}
    for answer in pixel["responses"].values():
        answer["content"].update(image)
    pixel["responses"]["200"] = _with_cookie(
        {"description": "Taken, or dropped as the visitor wishes.", "content": image}
    )
    return {"/api/v1/events/track": {"post": track}, "/api/v1/events/pixel.gif": {"get": pixel}}


def _sessions() -> Json:
    opened = {
        **_operation("sessions", "openSession", "Open a session, or add to its context", _BODY),
        "security": _WRITE_KEY,
        "parameters": [_SESSION_QUERY],
        "requestBody": _body(("Session",), {"abTest": _SESSION}),
    }
    opened["responses"]["202"] = _with_cookie(
        _answer("Taken, or dropped as the visitor wishes.", "SessionAccepted", "Dropped")
    )
    state = {
        **_operation(
            "sessions", "getSession", "See a session's state; a read key sees its own workspace's only", _READING
        ),
        "security": _READ_KEY,
    }
    state["responses"]["200"] = _answer("Its state.", "SessionState")
    expire = {
        **_operation("sessions", "expireSession", "Close a session at this place in the log", _CONTROL),
        "security": _WRITE_KEY,
    }
    flush = {
        **_operation("sessions", "flushSession", "Ship what is numbered so far without waiting", _CONTROL),
        "security": _WRITE_KEY,
    }
    for operation in (expire, flush):
        operation["responses"]["202"] = _answer("Taken.", "SessionAccepted")
    return {
        "/api/v1/events/session": {"post": opened},
        "/api/v1/events/session/{id}": {"parameters": [_SESSION_ID], "get": state, "delete": expire},
        "/api/v1/events/session/{id}/flush": {"parameters": [_SESSION_ID], "post": flush},
    }


def _operations() -> Json:
    health = _operation("operations", "getHealth", "Is the process alive?", _ANYWHERE)
    health["responses"]["200"] = _answer("Yes.", "Health")
    ready = _operation(
        "operations",
        "getReadiness",
        "Can events be accepted?",
        (*_ANYWHERE, "kafka_unavailable", "spill_full", "unhealthy"),
    )
    ready["responses"]["200"] = _answer("Yes; and where they go.", "Readiness")
    return {"/healthz": {"get": health}, "/readyz": {"get": ready}}


def _pages() -> Json:
    paths = {}
    build = read_build()
    for path, name, summary, media_type in (
        ("/tracker.js", "getScript", "The script for pages", "text/javascript"),
        ("/tracker.mjs", "getModule", "The same as a module", "text/javascript"),
        (build.address("tracker.js"), "getPinnedScript", "This version of the script", "text/javascript"),
        (build.address("tracker.mjs"), "getPinnedModule", "This version of the module", "text/javascript"),
        ("/docs", "getDocs", "This document, for people", "text/html"),
        ("/demo", "getDemo", "A page that tracks itself", "text/html"),
        ("/live", "getLive", "What is numbered, as it happens", "text/html"),
        ("/reports", "getReports", "Visitors, campaigns, landing pages and A/B tests", "text/html"),
        ("/reports.js", "getReportsScript", "The script of /reports", "text/javascript"),
        ("/reports.css", "getReportsStyle", "The style of /reports", "text/css"),
    ):
        page = _operation("pages", name, summary, _ANYWHERE)
        page["responses"]["200"] = _text("The file.", media_type)
        page["responses"]["304"] = _UNCHANGED
        paths[path] = {"get": page}
    for path, name, summary, codes in (
        ("/openapi.json", "getOpenapi", "This document, for programs", _ANYWHERE),
        ("/live/data", "getLiveData", "What /live shows: a read key's own workspace", _WATCHING),
        ("/reports/data", "getReportData", "One report's rows: a read key's own workspace", _REPORTING),
    ):
        page = _operation("pages", name, summary, codes)
        content = {"application/json": {"schema": {"type": "object"}}}
        page["responses"]["200"] = {"description": "JSON.", "content": content}
        paths[path] = {"get": page}
    paths["/openapi.json"]["get"]["responses"]["304"] = _UNCHANGED
    paths["/live/data"]["get"]["security"] = paths["/reports/data"]["get"]["security"] = _READ_KEY
    paths["/reports/data"]["get"]["parameters"] = described_parameters()
    return paths


def _operation(tag: str, name: str, summary: str, codes: Sequence[ErrorCode]) -> Json:
    """Return an operation with its errors: those of one status stand together."""
    responses: Json = {}
    for status in sorted({HTTP_STATUS[code] for code in codes}):
        of_status = [code for code in HTTP_STATUS if code in codes and HTTP_STATUS[code] == status]
        answer = _answer(f"`{'`, `'.join(of_status)}`", "Error")
        answer["content"]["application/json"]["example"] = {
            "error": {"code": of_status[0], "message": "what went wrong", "reasons": []}
        }
        if status in _RETRY_STATUS:
            answer["headers"] = {
                "Retry-After": {
                    "description": "Seconds.",
                    "required": True,
                    "schema": {"type": "integer", "minimum": 0},
                }
            }
        responses[str(status)] = answer
    return {"tags": [tag], "operationId": name, "summary": summary, "responses": responses}


def _body(shapes: Sequence[str], examples: Json) -> Json:
    first = next(iter(examples.values()))
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": _one_of(shapes),
                "examples": {name: {"value": value} for name, value in examples.items()},
            },
            "text/plain": {
                "schema": {"type": "string", "contentMediaType": "application/json"},
                "example": json.dumps(first),
            },
        },
    }


def _answer(description: str, *shapes: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": _one_of(shapes)}}}


def _text(description: str, media_type: str) -> Json:
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}


def _with_cookie(answer: Json) -> Json:
    cookie = "The session, if the body names none: HttpOnly, first-party, slides with the session's time-out."
    return {**answer, "headers": {"Set-Cookie": {"description": cookie, "schema": {"type": "string"}}}}


def _one_of(shapes: Sequence[str]) -> Json:
    refs = [{"$ref": _REF + shape} for shape in shapes]
    return refs[0] if len(refs) == 1 else {"anyOf": refs}


def _schemas(default_timeout_seconds: int) -> Json:
    named, rest = TypeAdapter.json_schemas(
        [(name, "validation", shape) for name, shape in SHAPES.items()], ref_template=_REF + "{model}"
    )
    schemas: Json = dict(rest.get("$defs", {}))
    for (name, _), schema in named.items():
        if "$ref" not in schema:
            schemas[name] = schema
    # The API's range is narrower than the log's, and a deployment's default widens it.
    low, high = RecordRules(default_timeout_seconds).timeout_range_seconds
    field = schemas["Session"]["properties"]["timeout_seconds"]
    field.update(minimum=low, maximum=high, default=default_timeout_seconds)
    return dict(sorted(schemas.items()))


def _security_schemes() -> Json:
    write = "A write key: public, for one workspace. A collector without keys needs none."
    return {
        "writeKey": {"type": "apiKey", "in": "header", "name": "X-Write-Key", "description": write},
        "writeKeyBearer": {"type": "http", "scheme": "bearer", "description": write},
        "writeKeyQuery": {"type": "apiKey", "in": "query", "name": "key", "description": write},
        "readKey": {"type": "http", "scheme": "bearer", "description": "A read key: secret, for one workspace."},
    }
