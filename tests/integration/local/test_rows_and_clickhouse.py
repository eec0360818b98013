"""What the row sorter lets through, ClickHouse takes: for any values, in the tables of this project."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fixtures.kafka import PROJECT_DIR
from tracker.datasources.files import Column, read_datasources
from tracker.local.tinybird.database import AppendResult, Database
from tracker.local.tinybird.rows import RowSorter

(_PROJECT_EVENTS, *_) = read_datasources(PROJECT_DIR / "tinybird")
#: The same columns where copies of a row stay apart: a merge in the background would change the counts.
EVENTS = dataclasses.replace(_PROJECT_EVENTS, engine="MergeTree")
MAX_ROWS = 8

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.just([1]),
    st.just({"a": 1}),
)
times = st.datetimes().map(lambda at: at.isoformat() + "Z")


def values(column: Column) -> st.SearchStrategy[Any]:
    """Mostly values that fit the column, so that whole rows do now and then."""
    if "DateTime" in column.type:
        return times
    if "Int" in column.type:
        return st.integers(0, 2**32 - 1)
    if "Float" in column.type:
        return st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)
    return texts


good_rows = st.fixed_dictionaries(
    {column.name: values(column) for column in EVENTS.columns if not column.nullable},
    optional={column.name: values(column) | st.none() for column in EVENTS.columns if column.nullable},
)
bad_rows = st.tuples(good_rows, st.sampled_from([column.name for column in EVENTS.columns]), odd).map(
    lambda drawn: {**drawn[0], drawn[1]: drawn[2]}
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("clickhouse"), [EVENTS])
    yield database
    database.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(good_rows | bad_rows, min_size=1, max_size=MAX_ROWS))
def test_every_row_is_written_or_quarantined_and_by_its_types_alone(database: Database, rows: list[dict[str, Any]]):
    body = b"\n".join(json.dumps(row).encode() for row in rows)
    expected = RowSorter(EVENTS).sort(body)
    before = count(database)

    result = database.append("events_v1", body)

    assert result == AppendResult(expected.fit_count, len(expected.unfit))
    assert count(database) == (before[0] + result.successful_rows, before[1] + result.quarantined_rows)


def count(database: Database) -> tuple[int, int]:
    query = """
        SELECT (SELECT count() FROM events_v1) AS written,
               (SELECT count() FROM events_v1_quarantine) AS quarantined
    """
    row = json.loads(database.query(query).body)["data"][0]
    return row["written"], row["quarantined"]
