"""Topic administration against the real broker: create, compare, and what mends a difference."""

import asyncio
import json

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.new_partitions import NewPartitions
from typer.testing import CliRunner, Result

from tests.patience import PATIENCE_SECONDS
from tests.topic_changes import alter_topic
from topics.catalog import CATALOG, SOURCE
from tracker.cli.app import app
from tracker.clock import new_id
from tracker.errors import ConfigurationError
from tracker.kafka.admin import connect, create_topics, describe_broker
from tracker.kafka.topic_checks import Drift, check_topics
from tracker.local.kafka import LocalKafka
from tracker.local.stack import wait_until
from tracker.settings import Settings


@pytest.fixture
def settings(kafka_broker: LocalKafka) -> Settings:
    return Settings(kafka_bootstrap=kafka_broker.bootstrap, topic_prefix=f"{new_id()}.", partitions=3)


def changed(settings: Settings, **values: object) -> Settings:
    return settings.model_copy(update=values)


def found(drifts: list[Drift]) -> dict[tuple[str, str], tuple[str, str]]:
    return {(drift.topic.rpartition(".")[2], drift.setting): (drift.expected, drift.found) for drift in drifts}


async def test_created_topics_are_as_in_the_catalog_and_usable_at_once(settings: Settings) -> None:
    created = await create_topics(settings)
    assert created == {topic.name(settings.topic_prefix): "created" for topic in CATALOG}
    assert await check_topics(settings) == []
    for state in (await describe_broker(settings)).values():
        assert (state.partitions, state.replicas, state.led_partitions) == (3, 1, 3)


async def test_create_again_changes_nothing(settings: Settings) -> None:
    await create_topics(settings)
    again = await create_topics(changed(settings, partitions=5))
    assert set(again.values()) == {"exists"}
    assert await check_topics(settings) == []


async def test_create_makes_only_what_is_missing(settings: Settings) -> None:
    async with connect(settings) as admin:
        await admin.create_topics([NewTopic(SOURCE.name(settings.topic_prefix), 3, 1, topic_configs=SOURCE.config)])
    created = await create_topics(settings)
    assert [name for name, verdict in created.items() if verdict == "exists"] == [SOURCE.name(settings.topic_prefix)]


async def test_two_that_create_at_the_same_time_both_succeed(settings: Settings) -> None:
    results = await asyncio.gather(*(create_topics(settings) for _ in range(4)))
    for name in (topic.name(settings.topic_prefix) for topic in CATALOG):
        assert [result[name] for result in results].count("created") == 1
    assert await check_topics(settings) == []


async def test_a_topic_that_the_cluster_refuses_is_an_error_with_its_reason(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="replication factor of 3"):
        await create_topics(changed(settings, replication_factor=3))


async def test_checking_does_not_create(settings: Settings) -> None:
    assert found(await check_topics(settings)) == {
        (topic.name(".").rpartition(".")[2], "topic"): ("exists", "missing") for topic in CATALOG
    }
    assert await describe_broker(settings) == {}


async def test_every_configuration_key_of_every_topic_is_compared(settings: Settings) -> None:
    await create_topics(settings)
    other = {
        "cleanup.policy": "compact,delete",
        "retention.ms": "60000",
        "message.timestamp.type": "LogAppendTime",
        "min.compaction.lag.ms": "1",
        "max.message.bytes": "1000",
    }
    for topic in CATALOG:
        is_append = topic.config.get("message.timestamp.type") == "LogAppendTime"
        config = {**other, "message.timestamp.type": "CreateTime"} if is_append else other
        await alter_topic(settings, topic.name(settings.topic_prefix), {key: config[key] for key in topic.config})
    drifts = await check_topics(settings)
    differing = {(drift.topic, drift.setting) for drift in drifts}
    for topic in CATALOG:
        assert {(topic.name(settings.topic_prefix), key) for key in topic.config} <= differing
    for drift in drifts:
        assert f"--entity-name {drift.topic} " in drift.mend


async def test_partitions_that_were_added_to_the_source_are_added_to_the_others_by_create(settings: Settings) -> None:
    await create_topics(settings)
    source = SOURCE.name(settings.topic_prefix)
    async with connect(settings) as admin:
        await admin.create_partitions({source: NewPartitions(4)})

    async def shows() -> bool:
        return bool(await check_topics(settings))

    await wait_until("the new partition", PATIENCE_SECONDS, shows)
    drifts = await check_topics(settings)
    assert {(drift.setting, drift.expected, drift.found) for drift in drifts} == {("partitions", "4", "3")}
    assert {drift.mend for drift in drifts} == {"tracker topics create"}
    others = {topic.name(settings.topic_prefix) for topic in CATALOG} - {source}
    assert {drift.topic for drift in drifts} == others

    done = await create_topics(settings)
    assert done == {source: "exists", **dict.fromkeys(others, "grown")}
    assert await check_topics(settings) == []


async def test_a_source_with_fewer_partitions_than_the_setting_is_found_and_the_setting_mends_it(
    settings: Settings,
) -> None:
    await create_topics(settings)
    more = changed(settings, partitions=5)
    (drift,) = await check_topics(more)
    assert (drift.topic, drift.expected, drift.found) == (SOURCE.name(settings.topic_prefix), "5", "3")
    assert drift.mend == "set TRACKER_PARTITIONS=3"
    assert (await asyncio.to_thread(invoke, more, "create")).exit_code == 1
    assert await check_topics(changed(more, partitions=3)) == []


async def test_a_topic_that_the_broker_made_is_refused_until_it_is_as_it_must_be(settings: Settings) -> None:
    async with connect(settings) as admin:
        await admin.create_topics([NewTopic(SOURCE.name(settings.topic_prefix), 3, 1)])
    refused = await asyncio.to_thread(invoke, settings, "create")
    assert refused.exit_code == 1
    name = SOURCE.name(settings.topic_prefix)
    assert f"{name} has message.timestamp.type=CreateTime" in refused.stderr
    assert f"--entity-name {name} --add-config message.timestamp.type=LogAppendTime" in refused.stderr
    await alter_topic(settings, name, dict(SOURCE.config))
    assert (await asyncio.to_thread(invoke, settings, "create")).exit_code == 0
    assert await check_topics(settings) == []


def test_with_three_replicas_two_have_to_have_a_record() -> None:
    for topic in CATALOG:
        assert topic.config_for(3)["min.insync.replicas"] == "2"
        assert "min.insync.replicas" not in topic.config_for(2)


async def test_too_few_replicas_are_found(settings: Settings) -> None:
    await create_topics(settings)
    drifts = await check_topics(changed(settings, replication_factor=3))
    assert {drift.setting for drift in drifts} == {"replicas", "min.insync.replicas"}
    assert len(drifts) == 2 * len(CATALOG)


def invoke(settings: Settings, *arguments: str) -> Result:
    env = {
        "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
        "TRACKER_PARTITIONS": str(settings.partitions),
    }
    return CliRunner(env=env).invoke(app, ["topics", *arguments])


def test_the_commands_create_check_and_describe(settings: Settings) -> None:
    name = SOURCE.name(settings.topic_prefix)
    missing = invoke(settings, "check")
    assert missing.exit_code == 1
    assert "mend: tracker topics create\n" in missing.output
    assert f"{name}: created" in invoke(settings, "create").output
    assert f"{name}: exists, left alone" in invoke(settings, "create").output
    assert invoke(settings, "check").exit_code == 0
    assert "3 partitions x 1 replicas" in invoke(settings, "describe", "--broker").output


def test_drift_as_json_can_be_read_by_a_machine(settings: Settings) -> None:
    result = invoke(settings, "check", "--json")
    assert result.exit_code == 1
    assert {drift["found"] for drift in json.loads(result.output)} == {"missing"}
    invoke(settings, "create")
    assert json.loads(invoke(settings, "check", "--json").output) == []


def test_admin_clients_are_closed(settings: Settings) -> None:
    closed: list[AIOKafkaAdminClient] = []

    async def use() -> None:
        async with connect(settings) as admin:
            closed.append(admin)

    asyncio.run(use())
    assert closed[0]._closed
