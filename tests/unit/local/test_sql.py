"""Which SQL may be asked of the local Tinybird, and what it makes of datasources."""

import pytest

from tracker.datasources.files import Column, Datasource
from tracker.local.tinybird.sql import create_quarantine, create_table, is_read, output_format


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "(\n    SELECT 1\n)\nUNION ALL\nSELECT 2",
        "WITH 1 AS x\nSELECT x",
        "DESCRIBE TABLE events_v1",
        "SHOW TABLES",
        "EXPLAIN\nSELECT 1",
        "SELECT 'a \\' INTO OUTFILE '",
        "SELECT 'it''s INTO OUTFILE '",
        "SELECT 1 AS `INTO OUTFILE`",
    ],
)
def test_reading_is_allowed(query: str):
    assert is_read(query)


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE t",
        "USE system",
        "SET readonly = 0",
        "KILL QUERY WHERE 1",
        "SELECT 1\nINTO OUTFILE 'x'",
        "",
    ],
)
def test_whatever_else_is_not(query: str):
    assert not is_read(query)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT 1", None),
        ("SELECT 1\nFORMAT CSV", "CSV"),
        ("SELECT 'FORMAT CSV'", None),
        ("SELECT 1 AS format", None),
    ],
)
def test_finds_the_format_that_a_query_asks_for(query: str, expected: str | None):
    assert output_format(query) == expected


def test_a_table_has_the_datasources_engine_keys_and_defaults():
    visits = Datasource(
        "visits",
        (Column("at", "DateTime64(3)"), Column("country", "String", "'nowhere'")),
        "ReplacingMergeTree",
        "country, at",
        partition_key="toYYYYMM(at)",
        version_column="at",
    )

    assert create_table(visits) == (
        "CREATE TABLE IF NOT EXISTS `visits` (`at` DateTime64(3), `country` String DEFAULT 'nowhere') "
        "ENGINE = ReplacingMergeTree(at) PARTITION BY toYYYYMM(at) ORDER BY (country, at)"
    )
    assert "`visits_quarantine`" in create_quarantine(visits)
    assert "`country` Nullable(String)" in create_quarantine(visits)
