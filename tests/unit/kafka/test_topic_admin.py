"""When a topic that was just made can be used: each broker of a cluster learns of it at its own time."""

import pytest

from tracker.kafka.admin import BrokerTopic, not_led


def topic(*, led: int = 4, topic_id: str = "new") -> BrokerTopic:
    return BrokerTopic("clicks", partitions=4, replicas=3, led_partitions=led, topic_id=topic_id)


@pytest.mark.parametrize(
    "third_broker",
    [
        {},
        {"other": topic()},
        {"clicks": topic(led=3)},
        {"clicks": topic(topic_id="old")},
    ],
    ids=["knows no topic", "knows another topic", "knows no leader of a partition", "knows the topic before this one"],
)
def test_a_topic_is_not_led_until_every_broker_knows_it(third_broker: dict[str, BrokerTopic]):
    assert not_led([{"clicks": topic()}, {"clicks": topic()}, third_broker], {"clicks": 4}) == ["clicks"]


def test_a_topic_is_led_when_all_brokers_know_the_same_one_with_all_its_leaders():
    assert not_led([{"clicks": topic()}, {"clicks": topic(led=5)}, {"clicks": topic()}], {"clicks": 4}) == []


def test_topics_that_are_not_led_are_named_in_order():
    assert not_led([{"b": topic(led=0)}], {"c": 1, "b": 1, "a": 1}) == ["a", "b", "c"]
