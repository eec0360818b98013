"""The processor as a real process on a real Kafka: what goes in comes out numbered, and nothing bad stops it."""

import asyncio
import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processors import Processor, Record, click
from tests.source_log import event_value, read_all
from topics.catalog import CHANGELOG, SEQUENCED, SOURCE
from tracker.kafka.clients import new_producer, partition_for_key
from tracker.local.kafka import LocalKafka


@pytest.fixture
def start(kafka_broker: LocalKafka, tmp_path: Path) -> Iterator[Callable[..., Processor]]:
    started: list[Processor] = []

    def start_one(**environment: str) -> Processor:
        started.append(Processor(kafka_broker.bootstrap, tmp_path, **environment))
        return started[-1]

    yield start_one
    for processor in started:
        processor.stage.end()


def test_an_idle_session_closes_though_nothing_else_arrives_and_its_key_starts_again_at_one(start) -> None:
    processor = start(TRACKER_SESSION_TIMEOUT_SECONDS="3", TRACKER_TICK_INTERVAL_MS="100")
    processor.send(click("idle"), click("idle"))
    processor.wait_until(lambda: any(row["is_expired"] for row in processor.sessions()), "the session's closing row")
    closed = next(row for row in processor.sessions() if row["is_expired"])
    assert (closed["session_id"], closed["event_count"], closed["close_reason"]) == ("idle", 2, "timeout")

    processor.send(click("idle"))
    processor.wait_until(lambda: len(processor.events()) == 3, "the third event")
    assert [event["session_event_sequence"] for event in processor.events()] == [1, 2, 1]
    assert processor.events()[2]["session_id"] != "idle"


def test_bad_records_become_dead_letters_and_their_neighbours_are_numbered_on(start) -> None:
    processor = start()
    partition = partition_for_key(b"good", processor.settings.partitions)
    bad: list[tuple[bytes | None, bytes | None, str]] = [
        (b"good", b"\x00\xff garbage \x80", "not_json"),
        (b"good", b'{"type":"event"}', "invalid"),
        (b"good", event_value("good", "x").replace(b"click", b"hover"), "invalid"),
        (b"good", event_value("good", "x", viewport_width="wide"), "invalid"),
        (b"good", event_value("good", "x", surprise=1), "invalid"),
        (None, event_value("good", "x"), "missing_key"),
        (b"\xff\xfe\xfd", event_value("good", "x"), "bad_key"),
        (b"good", event_value("good", "x", metadata="m" * 70_000), "oversized"),
        (b"good", event_value("good", "x", metadata="m" * 990_000), "oversized"),  # its letter exceeds a megabyte
        (b"good", None, "empty_value"),
    ]
    records: list[Record] = [click("good")]
    for key, value, _ in bad:
        records += [(key, value, partition), click("good")]
    processor.send(*records)
    processor.wait_until(lambda: len(processor.events()) == len(bad) + 1, "all good events")
    assert [event["session_event_sequence"] for event in processor.events()] == list(range(1, len(bad) + 2))
    letters = processor.wait_for_dead_letters(len(bad))
    assert [letter["reason"] for letter in letters] == [reason for _, _, reason in bad]
    assert [letter["source_offset"] for letter in letters] == list(range(1, 2 * len(bad), 2))
    assert {letter["source_partition"] for letter in letters} == {partition}
    assert [letter["value_base64"] and base64.b64decode(letter["value_base64"]) for letter in letters] == [
        value for _, value, _ in bad
    ]


def test_a_session_is_answered_by_its_owner_and_an_unknown_one_is_404(start) -> None:
    processor = start()
    processor.send(click("known"), click("known"))
    processor.wait_until(lambda: processor.get("known")[1].get("event_sequence") == 2, "the session's state")
    status, state = processor.get("known")
    assert (status, state["session_id"], state["is_expired"]) == (200, "known", False)
    assert processor.get("nobody")[0] == 404


def test_a_repeated_event_id_is_one_event_also_across_a_lost_disk(start) -> None:
    processor = start()
    processor.send(click("s", "a"), click("s", "a"), click("s", "b"))
    processor.wait_until(lambda: len(processor.events()) == 2, "two events")
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 2, "the checkpoint")
    processor.stage.kill()
    processor.stage.lose_disk()
    processor.stage.start()
    processor.send(click("s", "b"), click("s", "c"))
    processor.wait_until(lambda: len(processor.events()) == 3, "the third event")
    assert [(e["event_id"], e["session_event_sequence"]) for e in processor.events()] == [("a", 1), ("b", 2), ("c", 3)]


def test_another_workers_stale_write_to_the_changelog_changes_nothing(start) -> None:
    processor = start()
    processor.send(click("s", "a"))
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 1, "the first checkpoint")
    partition = partition_for_key(b"s", processor.settings.partitions)
    name = CHANGELOG.name(processor.settings.topic_prefix)
    stale = next(r for r in asyncio.run(read_all(processor.settings, CHANGELOG)) if r.key == b"s")
    processor.send(click("s", "b"))
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 2, "the second checkpoint")

    async def write_like_a_zombie() -> None:
        async with new_producer(processor.settings, "zombie") as producer:
            await producer.send_and_wait(name, stale.value, key=b"s", partition=partition)

    asyncio.run(write_like_a_zombie())
    processor.send(click("s", "c"))
    processor.wait_until(lambda: processor.get("s")[1].get("event_sequence") == 3, "the third checkpoint")
    assert "a hole in the changelog" in processor.stage.log_file.read_text()
    processor.stage.kill()
    processor.stage.lose_disk()
    processor.stage.start()
    processor.send(click("s", "d"))
    processor.wait_until(lambda: len(processor.events()) == 4, "the fourth event")
    assert [event["session_event_sequence"] for event in processor.events()] == [1, 2, 3, 4]


def test_records_in_the_wrong_partition_are_numbered_in_the_right_one_and_their_producer_is_named(start) -> None:
    processor = start()
    home = partition_for_key(b"s", processor.settings.partitions)

    async def send_like_another_partitioner() -> None:
        async with new_producer(processor.settings, "test") as producer:
            for number in range(6):
                await producer.send_and_wait(
                    SOURCE.name(processor.settings.topic_prefix),
                    event_value("s", f"e{number}"),
                    key=b"s",
                    partition=1 - home,
                    headers=[("producer-client-id", b"checkout-service")],
                )

    asyncio.run(send_like_another_partitioner())
    processor.wait_until(lambda: len(processor.events()) == 6, "six events")
    found = [(event["event_id"], event["session_event_sequence"]) for event in processor.events()]
    assert found == [(f"e{number}", number + 1) for number in range(6)]
    assert "checkout-service" in processor.stage.log_file.read_text()
    rows = [record for record in asyncio.run(read_all(processor.settings, SEQUENCED)) if record.value]
    assert {record.partition for record in rows} == {home}


def test_a_processor_stops_cleanly_and_goes_on_where_it_was(start) -> None:
    processor = start()
    processor.send(click("s"))
    processor.wait_until(lambda: processor.get("s")[0] == 200, "the first event")
    assert processor.stage.stop() == 0
    processor.send(click("s"))
    processor.stage.start()
    processor.wait_until(lambda: len(processor.events()) == 2, "the second event")
    assert [event["session_event_sequence"] for event in processor.events()] == [1, 2]


def test_a_flood_of_bad_records_raises_an_alarm_and_holds_nobody_up(start) -> None:
    processor = start(TRACKER_DEAD_LETTER_MIN_LETTERS="20", TRACKER_CHUNK_MAX_RECORDS="10")
    processor.send(*[(b"good", b"{}", None)] * 60, click("good"))
    processor.wait_until(lambda: len(processor.events()) == 1, "the good event")
    assert len(processor.wait_for_dead_letters(60)) == 60
    processor.wait_until(lambda: "a flood of dead letters" in processor.stage.log_file.read_text(), "the alarm")
    status, state = processor.readiness()
    assert status == 200
    assert "a flood of dead letters: 60 of 2000 records" in state["notes"][0]


def test_a_processor_that_is_told_to_stops_when_most_records_are_bad_and_can_be_overridden(start) -> None:
    limit = {
        "TRACKER_DEAD_LETTER_STOP": "true", "TRACKER_DEAD_LETTER_MIN_LETTERS": "20", "TRACKER_CHUNK_MAX_RECORDS": "100"
    }  # fmt: skip
    processor = start(**limit)
    processor.send(click("good"))
    processor.wait_until(lambda: len(processor.events()) == 1, "the good event")
    processor.stage.kill()
    processor.send(*[(b"good", b"{}", None)] * 30)
    processor.stage.start()
    assert processor.stage.exit_status() == 1
    log = processor.stage.log_file.read_text()
    assert "TRACKER_DEAD_LETTER_STOP=false" in log
    assert "Traceback" not in log
    assert processor.dead_letters() == []

    processor.stage.set_environment(TRACKER_DEAD_LETTER_STOP="false")
    processor.stage.start()
    assert len(processor.wait_for_dead_letters(30)) == 30
