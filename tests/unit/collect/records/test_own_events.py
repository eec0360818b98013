"""Events of the user's own types over HTTP: checked by the schema that they name, before they are accepted."""

import orjson
import pytest

from tests.unit.collect.records.requests import event, events, refused
from topics.codec import decode_source
from topics.schemas import SchemaId, Schemas
from tracker.collect.records.context import RecordRules
from tracker.collect.records.source_records import EncodedRecord

PURCHASE = {
    "type": "object",
    "properties": {"total": {"type": "number"}, "items": {"type": "array", "items": {"type": "string"}}},
    "required": ["total"],
    "additionalProperties": False,
}
RULES = RecordRules(schemas=Schemas({SchemaId("purchase", "1-0-0"): PURCHASE}))
BODY = {"event_type": "purchase", "schema": "1-0-0", "properties": {"total": 49.5, "items": ["a"]}, "session_id": "s"}


def test_the_record_names_the_version_in_its_envelope_and_carries_the_properties() -> None:
    record = orjson.loads(event(BODY, rules=RULES).value)
    assert record["schema"] == "1-0-0"
    assert record["data"]["event_type"] == "purchase"
    assert record["data"]["properties"] == BODY["properties"]


def test_what_is_accepted_here_is_decoded_there() -> None:
    record = event({**BODY, "page_url": "https://shop.example/?a=1", "event_value": "49.5"}, rules=RULES)
    assert decode_source(record.key, record.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"properties": {}}, "properties: "),
        ({"properties": {"total": "x"}}, "properties.total: "),
        ({"properties": {"total": 1, "items": ["a", 2]}}, "properties.items.1: "),
        ({"properties": None}, "properties: "),
        ({"schema": "2-0-0"}, "schema: purchase has no version 2-0-0"),
        ({"event_type": "refund"}, "schema: there is no schema of the event type refund"),
        ({"event_type": ["purchase"]}, "event_type, schema: "),
        ({"event_type": None}, "schema: event_type is missing"),
        ({"schema": None}, "schema: "),
        ({"metadata": "x"}, "metadata: an event of your own type has properties instead"),
        ({"form_id": 5}, "form_id: "),
    ],
)
def test_each_fault_is_told_with_its_path(changes: dict[str, object], reason: str) -> None:
    error = refused({**BODY, **changes}, rules=RULES)
    assert (error.status, error.code) == (400, "invalid")
    assert error.reasons[0].startswith(reason)


def test_a_schema_without_an_event_type_is_told_what_is_missing() -> None:
    unnamed = {name: value for name, value in BODY.items() if name != "event_type"}
    assert refused(unnamed, rules=RULES).reasons == ("schema: event_type is missing, and a schema belongs to one",)


def test_without_a_folder_of_schemas_there_are_no_own_types() -> None:
    assert refused(BODY).reasons == ("schema: there is no schema of the event type purchase",)
    unnamed = {name: value for name, value in BODY.items() if name != "schema"}
    assert any(reason.startswith("event_type: ") for reason in refused(unnamed, rules=RULES).reasons)


def test_a_batch_takes_own_events_among_others_each_by_itself() -> None:
    click = {"event_type": "click"}
    wrong = {**BODY, "properties": {"total": "x"}}
    results = events({"batch": [click, BODY, wrong, click]}, rules=RULES).results
    assert [isinstance(result, EncodedRecord) for result in results] == [True, True, False, True]


def test_an_event_that_names_a_schema_and_no_type_is_told_to_name_one() -> None:
    body = {name: value for name, value in BODY.items() if name != "event_type"}
    assert refused(body, rules=RULES).reasons == ("schema: event_type is missing, and a schema belongs to one",)
