"""The document says what the code does: its routes, its fields, its errors."""

from typing import get_args

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import TypeAdapter

from topics.event import EventInput
from topics.session import SessionInput
from tracker.collect.api.openapi.document import document
from tracker.collect.api.openapi.schemas import SHAPES, SessionState
from tracker.collect.app import Collector
from tracker.collect.errors import HTTP_STATUS, ErrorCode
from tracker.process.session_view import session_view
from tracker.sessions import state as states
from tracker.sessions.rules import Rules
from tracker.settings import Settings

DOCUMENT = document(max_body_bytes=262_144, default_timeout_seconds=1_800)
METHODS = {"get", "post", "delete", "put", "patch", "head", "options", "trace"}


def operations() -> dict[tuple[str, str], dict]:
    return {
        (path, method): operation
        for path, item in DOCUMENT["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def test_it_is_valid_openapi():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_route_is_documented_and_every_documented_one_exists():
    routes = Collector(Settings(_env_file=None)).routes.all
    assert {(route.pattern, method.lower()) for route in routes for method in route.methods} == set(operations())


def test_every_code_of_an_error_stands_at_its_status():
    said: dict[str, set[int]] = {}
    for operation in operations().values():
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                for code in answer["description"].strip("`").split("`, `"):
                    said.setdefault(code, set()).add(int(status))
    # An address that does not exist has no operation.
    expected = {code: {HTTP_STATUS[code]} for code in get_args(ErrorCode) if code != "not_found"}
    assert said == expected


def test_a_request_has_every_field_of_the_record_with_its_limits():
    for shape, record in (("Event", EventInput), ("Session", SessionInput)):
        shown = DOCUMENT["components"]["schemas"][shape]["properties"]
        for field, schema in TypeAdapter(record).json_schema()["properties"].items():
            if field != "timeout_seconds":
                assert shown[field] == schema


@pytest.mark.parametrize(
    ("default_seconds", "low", "high"), [(1_800, 300, 1_800), (60, 60, 1_800), (3_600, 300, 3_600)]
)
def test_the_time_outs_range_is_the_deployments(default_seconds: int, low: int, high: int):
    made = document(max_body_bytes=1_024, default_timeout_seconds=default_seconds)
    field = made["components"]["schemas"]["Session"]["properties"]["timeout_seconds"]
    assert (field["minimum"], field["maximum"], field["default"]) == (low, high, default_seconds)


def test_the_examples_are_what_the_endpoints_take():
    for operation in operations().values():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        for example in content.get("examples", {}).values():
            shape = "EventBatch" if "batch" in example["value"] else "SingleEvent"
            shape = "Session" if operation["operationId"] == "openSession" else shape
            SHAPES[shape].validate_python(example["value"])


def test_a_sessions_state_has_the_fields_that_the_processor_gives():
    state = states.SessionState(session_id="s", ordinal=1, created_ms=1, last_activity_ms=1, timeout_ms=60_000)
    view = session_view("k", state, rules=Rules(), now_ms=2, source_offset=7, place={})
    assert set(view) == SessionState.__required_keys__
    TypeAdapter(SessionState).validate_python(view, strict=True)


def test_a_session_may_be_called_like_the_end_of_an_address():
    collector = Collector(Settings(_env_file=None))
    assert collector.routes.pattern("/api/v1/events/session/flush") == "/api/v1/events/session/{id}"
    assert collector.routes.pattern("/api/v1/events/session/flush/flush") == "/api/v1/events/session/{id}/flush"
