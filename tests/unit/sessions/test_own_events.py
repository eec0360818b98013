"""Events of the user's own types in the fold: their schema judges them, whoever sent them and whenever."""

from typing import Any

import orjson
import pytest

from tests.sessions_log import START_MS, Log, rows
from topics.schemas import NO_SCHEMAS, SchemaId, Schemas

KEY = "visitor-1"
FIRST = {"type": "object", "properties": {"total": {"type": "number"}}, "additionalProperties": False}
SECOND = {"type": "object", "properties": {**FIRST["properties"], "coupon": {"type": "string"}}}
V1 = Schemas({SchemaId("purchase", "1-0-0"): FIRST})
V2 = Schemas({SchemaId("purchase", "1-0-0"): FIRST, SchemaId("purchase", "1-1-0"): SECOND})


def purchase(log: Log, version: str = "1-0-0", at: int = START_MS, **properties: Any) -> None:
    log.event(KEY, at, envelope={"schema": version}, event_type="purchase", properties=properties, event_id=f"e-{at}")


def letters(result: Any) -> list[tuple[str, str]]:
    return [
        (letter["reason"], letter["detail"])
        for letter in map(orjson.loads, (each.value for each in result.dead_letters))
    ]


def test_an_own_event_takes_the_next_number_and_its_properties_are_its_metadata() -> None:
    log = Log(schemas=V1)
    log.event(KEY)
    purchase(log, total=49.5)
    log.event(KEY)
    found = rows(log.fold().events)
    assert [(row["event_type"], row["session_event_sequence"]) for row in found] == [
        ("click", 1),
        ("purchase", 2),
        ("click", 3),
    ]
    assert found[1]["metadata"] == '{"total":49.5}'
    assert not found[1].keys() & {"schema", "properties"}


def test_each_event_is_judged_by_the_version_that_it_names() -> None:
    log = Log(schemas=V2)
    purchase(log, "1-1-0", coupon="x")
    purchase(log, "1-0-0", START_MS + 1, coupon="x")
    result = log.fold()
    assert len(result.events) == 1
    ((reason, detail),) = letters(result)
    assert reason == "invalid"
    assert detail.startswith("purchase 1-0-0: properties: ")


@pytest.mark.parametrize("schemas", [NO_SCHEMAS, V1])
def test_an_unknown_schema_makes_a_letter_that_is_let_in_later(schemas: Schemas) -> None:
    log = Log(schemas=schemas)
    purchase(log, "1-1-0", coupon="x")
    result = log.fold()
    assert (result.events, [reason for reason, _ in letters(result)]) == ([], ["unknown_schema"])
    later = Log(schemas=V2)
    later.records = list(log.records)
    assert [row["event_type"] for row in rows(later.fold().events)] == ["purchase"]


def test_the_same_properties_in_another_order_are_the_same_event() -> None:
    log = Log(schemas=V2)
    for properties in ({"total": 1, "coupon": "x"}, {"coupon": "x", "total": 1}):
        purchase(log, "1-1-0", **properties)
    result = log.fold()
    assert (len(result.events), result.counts.duplicates) == (1, 1)


@pytest.mark.parametrize(
    "data",
    [
        {"event_type": "Purchase", "properties": {}},
        {"event_type": "purchase"},
        {"event_type": "purchase", "properties": []},
        {"event_type": "purchase", "properties": {}, "metadata": "x"},
        {"event_type": "purchase", "properties": {"a": float("inf")}},
    ],
)
def test_what_is_no_own_event_is_invalid(data: dict[str, Any]) -> None:
    log = Log(schemas=Schemas({SchemaId("purchase", "1-0-0"): {"type": "object", "additionalProperties": True}}))
    log.event(KEY, envelope={"schema": "1-0-0"}, **data)
    if "a" in data.get("properties", {}):  # orjson writes null
        log.records[-1] = log.records[-1]._replace(value=log.records[-1].value.replace(b"null", b"1e999"))
    result = log.fold()
    assert ([reason for reason, _ in letters(result)], result.events) == (["invalid"], [])
