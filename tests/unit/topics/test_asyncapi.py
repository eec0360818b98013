"""The AsyncAPI document is valid, and says what the code does.

``asyncapi-3.0.0.schema.json.gz`` is the specification's own schema (asyncapi/spec-json-schemas, Apache-2.0).
"""

import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from typer.testing import CliRunner

from topics.asyncapi import LEFT_OUT, document
from topics.catalog import CATALOG, SOURCE, Topic
from topics.codec import decode_source
from tracker.cli.app import app

SCHEMA = Path(__file__).with_name("asyncapi-3.0.0.schema.json.gz")
DOCUMENT = document(prefix="tracker.", partitions=12, bootstrap="one.example:9092,two.example:9092", version="1.0")


def resolved(reference: str) -> Any:
    node: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        mine = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return mine + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def channel_of(topic: Topic) -> dict[str, Any]:
    return next(channel for channel in DOCUMENT["channels"].values() if channel["address"] == topic.name("tracker."))


def test_it_is_valid_by_the_specifications_own_schema():
    validator = Draft7Validator(json.loads(gzip.decompress(SCHEMA.read_bytes())))
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(DOCUMENT)] == []


def test_every_reference_leads_somewhere():
    found = references(DOCUMENT)
    assert found
    assert all(resolved(reference) for reference in found)


@pytest.mark.parametrize("topic", [topic for topic in CATALOG if topic not in LEFT_OUT], ids=lambda topic: topic.suffix)
def test_each_topic_is_a_channel_with_its_settings(topic):
    kafka = channel_of(topic)["bindings"]["kafka"]
    assert kafka["partitions"] == 12
    told = {name: value[0] if isinstance(value, list) else str(value) for name, value in
            kafka["topicConfiguration"].items()}  # fmt: skip
    assert told == dict(topic.config)


def test_each_example_of_the_source_is_taken_and_fits_its_own_schema():
    messages = [resolved(message["$ref"]) for message in channel_of(SOURCE)["messages"].values()]
    assert {message["name"] for message in messages} == {"event", "session", "expire", "flush"}
    for message in messages:
        [example] = message["examples"]
        payload = example["payload"]
        record = decode_source(payload["session_id"].encode(), orjson.dumps(payload))
        assert record["type"] == message["name"]
        schema = {**resolved(message["payload"]["$ref"]), "components": DOCUMENT["components"]}
        assert list(Draft202012Validator(schema).iter_errors(payload)) == []


def test_a_payload_that_the_processor_refuses_is_refused_by_the_schema_too():
    schema = {**resolved("#/components/schemas/EventRecord"), "components": DOCUMENT["components"]}
    [example] = resolved("#/components/messages/event")["examples"]
    wrong = {**example["payload"], "data": {"event_type": "dance"}}
    assert list(Draft202012Validator(schema).iter_errors(wrong))


def test_only_the_source_is_written_by_others():
    receiving = [operation for operation in DOCUMENT["operations"].values() if operation["action"] == "receive"]
    assert [resolved(operation["channel"]["$ref"])["address"] for operation in receiving] == ["tracker.events"]


def test_the_command_prints_it_for_this_deployment():
    environment = {
        "TRACKER_TOPIC_PREFIX": "shop.",
        "TRACKER_PARTITIONS": "3",
        "TRACKER_KAFKA_BOOTSTRAP": "k.example:9092",
    }
    result = CliRunner().invoke(app, ["topics", "asyncapi"], env=environment)
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed["channels"]["events"]["address"] == "shop.events"
    assert printed["channels"]["events"]["bindings"]["kafka"]["partitions"] == 3
    assert printed["servers"] == {"broker0": {"host": "k.example:9092", "protocol": "kafka"}}
