"""Schemas of own event types: the subset, and what is said of properties that don't fit."""

from typing import Any

import pytest

from topics.codec import RejectedRecord
from topics.schemas import MAX_SCHEMA_DEPTH, SchemaId, Schemas, UnfitSchema

PURCHASE = {
    "type": "object",
    "properties": {
        "order_id": {"type": "string", "pattern": "^o-[0-9]+$"},
        "total": {"type": "number", "minimum": 0},
        "paid_at": {"type": "string", "format": "date-time"},
        "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}}}},
    },
    "required": ["order_id"],
    "additionalProperties": False,
}
ID = SchemaId("purchase", "1-0-0")


def faults(properties: Any) -> list[str]:
    return Schemas({ID: PURCHASE}).faults(ID, properties)


def too_deep() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(MAX_SCHEMA_DEPTH):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def test_properties_that_fit_have_no_faults() -> None:
    assert faults({"order_id": "o-1", "total": 0, "paid_at": "2026-11-28T10:00:00Z", "items": [{"sku": "s"}]}) == []


@pytest.mark.parametrize(
    ("properties", "place"),
    [
        ({"order_id": "secret"}, "properties.order_id: "),
        ({"order_id": 5}, "properties.order_id: "),
        ({"order_id": "o-1", "total": -1}, "properties.total: "),
        ({"order_id": "o-1", "paid_at": "secret"}, "properties.paid_at: "),
        ({"order_id": "o-1", "items": [{"sku": "s"}, {"sku": 7}]}, "properties.items.1.sku: "),
        ({}, "properties: "),
        ({"order_id": "o-1", "totl": 1}, "properties: "),
        (None, "properties: "),
    ],
)
def test_each_fault_has_its_path_and_does_not_repeat_the_value(properties: Any, place: str) -> None:
    (fault,) = faults(properties)
    assert fault.startswith(place)
    assert "secret" not in fault


def test_all_faults_are_told() -> None:
    assert len(faults({"order_id": 1, "total": "x"})) == 2


def test_a_name_or_a_version_without_a_schema_is_told_apart_from_wrong_properties() -> None:
    schemas = Schemas({ID: PURCHASE, SchemaId("purchase", "1-1-0"): PURCHASE})
    with pytest.raises(RejectedRecord, match="unknown_schema: purchase has no version 2-0-0; there are 1-0-0, 1-1-0"):
        schemas.faults(SchemaId("purchase", "2-0-0"), {})
    with pytest.raises(RejectedRecord, match="unknown_schema: there is no schema of the event type refund"):
        schemas.faults(SchemaId("refund", "1-0-0"), {})


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ([], "purchase/1-0-0: must be an object"),
        ({"type": "string"}, "an event's properties are an object"),
        ({"type": ["object", "null"]}, "type must be one of"),
        ({"type": "object", "patternProperties": {}}, "patternProperties is not in the subset for object"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, "/properties/a: type must be one of"),
        ({"type": "object", "properties": {"a": {"type": "string", "minimum": 1}}}, "minimum is not in the subset"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "/properties/a/items: must be an object"),
        ({"type": "object", "properties": {"a b": {"type": "string"}}}, "letters, digits and _"),
        ({"type": "object", "properties": {"a": {"type": "string", "format": "regex"}}}, "format must be one of"),
        ({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}, "purchase/1-0-0: "),
        ({"type": "object", "properties": {"a": {"type": "string", "maxLength": "x"}}}, "purchase/1-0-0: "),
        ({"type": "object", "required": ["a"]}, "required must list names of properties"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "additionalProperties must be true or false"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "$schema must be"),
        (too_deep(), "nested deeper than"),
    ],
)
def test_a_schema_outside_of_the_subset_is_refused_with_its_place(schema: Any, problem: str) -> None:
    with pytest.raises(UnfitSchema) as caught:
        Schemas({ID: schema})
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [("click", "1-0-0"), ("Purchase", "1-0-0"), ("purchase", "1.0.0"), ("purchase", "0-1-0"), ("purchase", "01-0-0")],
)
def test_a_name_of_the_trackers_own_or_a_wrong_version_is_refused(schema: tuple[str, str]) -> None:
    with pytest.raises(UnfitSchema):
        Schemas({SchemaId(*schema): PURCHASE})
