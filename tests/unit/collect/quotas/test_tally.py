"""The events of a day are added up once, whatever a killed processor has sent twice and others have written."""

from typing import Any

import orjson
import pytest
from aiokafka import ConsumerRecord

from topics.headers import RETRY_OF, write_position
from tracker.collect.quotas.tally import DayTally

DAY = "2026-01-01"


def record(
    offset: int,
    *,
    partition: int = 0,
    workspace: str = "shop",
    minute: str = f"{DAY}T12:00:00Z",
    headers: list[tuple[str, bytes]] | None = None,
    **more: Any,
) -> Any:
    value = {"workspace_id": workspace, "minute": minute, "events": 10, **more}
    position = write_position(partition, offset, 0)
    return ConsumerRecord(
        "t.usage",
        partition,
        0,
        0,
        0,
        workspace.encode(),
        orjson.dumps(value),
        None,
        0,
        0,
        (*position, *(headers or ())),
    )


def tally() -> DayTally:
    return DayTally(DAY, {b"shop", b"lab"})


def test_rows_are_added_up_by_workspace() -> None:
    found = tally()
    for one in (record(1), record(2), record(3, workspace="lab"), record(4, workspace="stranger")):
        found.take(one)
    assert found.events == {"shop": 20, "lab": 10}


def test_repeats_count_once_in_each_partition() -> None:
    found = tally()
    for offset, partition in ((1, 0), (2, 0), (1, 0), (2, 0), (1, 1), (3, 0), (1, 1)):
        found.take(record(offset, partition=partition))
    assert found.events == {"shop": 40}


def test_a_row_that_came_back_from_the_dead_letters_was_counted_before() -> None:
    found = tally()
    found.take(record(1))
    found.take(record(2, headers=[(RETRY_OF, b"0:1")]))
    assert found.events == {"shop": 10}


def test_only_minutes_of_the_day_count() -> None:
    found = tally()
    minutes = ("2025-12-31T23:59:00Z", "2026-01-01T00:00:00Z", "2026-01-01T23:59:00Z", "2026-01-02T00:00:00Z")
    for offset, minute in enumerate(minutes):
        found.take(record(offset, minute=minute))
    assert found.events == {"shop": 20}


@pytest.mark.parametrize("value", [None, b"", b"null", b"[]", b"{}", b'{"minute":7}', b'{"minute":"2026-01-01"}'])
def test_what_is_no_row_is_an_error_that_the_reader_knows(value: bytes | None) -> None:
    broken = record(1)
    broken.value = value
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        tally().take(broken)


def test_a_record_without_a_position_is_passed_over() -> None:
    found, foreign = tally(), record(1)
    foreign.headers = ()
    found.take(foreign)
    assert found.events == {}
