"""The endpoints of the OpenAPI document: the requests, responses and errors of each."""

from typing import Final

from tracker.collect.api.openapi.blocks import Json, answer, body, operation, text, with_cookie
from tracker.collect.api.script_files import read_build
from tracker.collect.errors import ErrorCode
from tracker.collect.records.event_list import MAX_BATCH_EVENTS
from tracker.collect.reports.parameters import described_parameters

#: Errors that any request may get before its endpoint runs, or in place of its response.
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
_BODY: Final[tuple[ErrorCode, ...]] = (*_WRITING, "quota_exceeded", "not_json", "invalid", "unsupported_media_type")
_PIXEL: Final[tuple[ErrorCode, ...]] = (*_WRITING, "quota_exceeded", "not_json", "invalid")
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


def paths() -> Json:
    """Return every path with its operations."""
    return {**_events(), **_sessions(), **_operations(), **_pages()}


def _events() -> Json:
    taken = answer("Taken, or dropped as the visitor wishes.", "EventAccepted", "BatchVerdicts", "Dropped")
    track = {
        **operation("events", "trackEvents", f"Track one event, or a batch of up to {MAX_BATCH_EVENTS}", _BODY),
        "security": _WRITE_KEY,
        "parameters": [_SESSION_QUERY],
        "requestBody": body(
            ("SingleEvent", "EventBatch"),
            {
                "conversion": _EVENT,
                "batch": {"batch": [{"event_type": "pageview", "event_id": "view-1"}, _EVENT]},
            },
        ),
    }
    track["responses"]["202"] = with_cookie(taken)
    pixel = {
        **operation(
            "events", "trackByPixel", "Track where there is no script: always an image, the status tells", _PIXEL
        ),
        "security": [{"writeKeyQuery": []}, {}],
        "parameters": [_PIXEL_EVENT, _SESSION_QUERY],
    }
    image = {"image/gif": {"schema": {"type": "string", "contentMediaType": "image/gif"}}}
    for each in pixel["responses"].values():
        each["content"].update(image)
    pixel["responses"]["200"] = with_cookie(
        {"description": "Taken, or dropped as the visitor wishes.", "content": image}
    )
    return {"/api/v1/events/track": {"post": track}, "/api/v1/events/pixel.gif": {"get": pixel}}


def _sessions() -> Json:
    opened = {
        **operation("sessions", "openSession", "Open a session, or add to its context", _BODY),
        "security": _WRITE_KEY,
        "parameters": [_SESSION_QUERY],
        "requestBody": body(("Session",), {"abTest": _SESSION}),
    }
    opened["responses"]["202"] = with_cookie(
        answer("Taken, or dropped as the visitor wishes.", "SessionAccepted", "Dropped")
    )
    state = {
        **operation(
            "sessions", "getSession", "See a session's state; a read key sees its own workspace's only", _READING
        ),
        "security": _READ_KEY,
    }
    state["responses"]["200"] = answer("Its state.", "SessionState")
    expire = {
        **operation("sessions", "expireSession", "Close a session at this place in the log", _CONTROL),
        "security": _WRITE_KEY,
    }
    flush = {
        **operation("sessions", "flushSession", "Ship what is numbered so far without waiting", _CONTROL),
        "security": _WRITE_KEY,
    }
    for each in (expire, flush):
        each["responses"]["202"] = answer("Taken.", "SessionAccepted")
    return {
        "/api/v1/events/session": {"post": opened},
        "/api/v1/events/session/{id}": {"parameters": [_SESSION_ID], "get": state, "delete": expire},
        "/api/v1/events/session/{id}/flush": {"parameters": [_SESSION_ID], "post": flush},
    }


def _operations() -> Json:
    health = operation("operations", "getHealth", "Is the process alive?", _ANYWHERE)
    health["responses"]["200"] = answer("Yes.", "Health")
    ready = operation(
        "operations",
        "getReadiness",
        "Can events be accepted?",
        (*_ANYWHERE, "not_ready", "kafka_unavailable", "spill_full", "unhealthy"),
    )
    ready["responses"]["200"] = answer("Yes; and where they go.", "Readiness")
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
        page = operation("pages", name, summary, _ANYWHERE)
        page["responses"]["200"] = text("The file.", media_type)
        page["responses"]["304"] = _UNCHANGED
        paths[path] = {"get": page}
    for path, name, summary, codes in (
        ("/openapi.json", "getOpenapi", "This document, for programs", _ANYWHERE),
        ("/live/data", "getLiveData", "What /live shows: a read key's own workspace", _WATCHING),
        ("/reports/data", "getReportData", "One report's rows: a read key's own workspace", _REPORTING),
    ):
        page = operation("pages", name, summary, codes)
        content = {"application/json": {"schema": {"type": "object"}}}
        page["responses"]["200"] = {"description": "JSON.", "content": content}
        paths[path] = {"get": page}
    paths["/openapi.json"]["get"]["responses"]["304"] = _UNCHANGED
    paths["/live/data"]["get"]["security"] = paths["/reports/data"]["get"]["security"] = _READ_KEY
    paths["/reports/data"]["get"]["parameters"] = described_parameters()
    return paths
