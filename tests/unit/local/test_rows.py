"""Which rows fit a datasource."""

import json
from typing import Any

import pytest

from tracker.datasources.files import Column, Datasource
from tracker.errors import ConfigurationError
from tracker.local.tinybird.rows import NotNdjsonError, RowSorter

VISITS = Datasource(
    name="visits",
    columns=(
        Column("at", "DateTime64(3)"),
        Column("note", "LowCardinality(Nullable(String))"),
        Column("page", "String"),
        Column("clicks", "UInt16"),
        Column("total", "UInt64", "0"),
        Column("score", "Float64", "1.5"),
        Column("new", "Nullable(Bool)"),
        Column("day", "Nullable(Date)"),
    ),
    engine="MergeTree",
    sorting_key="at",
)
FITTING = {"at": "2026-11-24T10:00:00.123Z", "page": "/", "clicks": 1}
SORTER = RowSorter(VISITS)


def ndjson(*rows: Any) -> bytes:
    return b"\n".join(json.dumps(row).encode() for row in rows)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"note": None, "new": None, "total": None, "score": None},
        {"note": "x", "new": True, "total": 2**64 - 1, "score": 2, "day": "2026-11-24"},
        {"unknown": {"deep": [1]}},
        {"clicks": 65_535},
        {"at": "2026-11-24 10:00:00"},
        {"at": "2026-11-24T10:00:00+02:00"},
    ],
)
def test_a_row_that_fits_is_passed_on_as_the_bytes_that_came(change: dict[str, Any]):
    body = ndjson({**FITTING, **change})

    rows = SORTER.sort(body)

    assert (rows.fit, rows.fit_count, rows.unfit) == (body, 1, [])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at", "yesterday"),
        ("at", 1_790_000_000),
        ("at", "2026-13-24T10:00:00Z"),
        ("page", None),
        ("page", 7),
        ("page", {"a": 1}),
        ("clicks", "7"),
        ("clicks", 1.5),
        ("clicks", -1),
        ("clicks", 65_536),
        ("total", -1),
        ("score", "high"),
        ("new", 1),
        ("day", "2026-11-31"),
    ],
)
def test_a_row_that_does_not_fit_names_its_column_and_the_others_pass(column: str, value: Any):
    unfit = {**FITTING, column: value}

    rows = SORTER.sort(ndjson(FITTING, unfit, FITTING))

    assert (rows.fit, rows.fit_count) == (ndjson(FITTING, FITTING), 2)
    (row,) = rows.unfit
    assert (row.values, row.column) == (unfit, column)
    assert row.error


@pytest.mark.parametrize("column", ["at", "page", "clicks"])
def test_a_column_without_null_or_default_must_be_there(column: str):
    row = {key: value for key, value in FITTING.items() if key != column}

    (unfit,) = SORTER.sort(ndjson(row)).unfit

    assert unfit.column == column


def test_empty_lines_and_carriage_returns_do_not_count():
    rows = SORTER.sort(b"\n" + ndjson(FITTING) + b"\r\n\r\n" + ndjson(FITTING) + b"\n\n")

    assert (rows.fit_count, rows.unfit) == (2, [])


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n"])
def test_an_empty_body_has_no_rows(body: bytes):
    rows = SORTER.sort(body)

    assert (rows.fit_count, rows.unfit) == (0, [])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"hello", "line 1 is not JSON"),
        (ndjson(FITTING) + b'\n{"at": ', "line 2 is not JSON"),
        (ndjson([FITTING]), "line 1 is JSON, but not an object"),
        (ndjson(FITTING) + ndjson(FITTING), "line 1 is not JSON"),
        (json.dumps(FITTING, indent=1).encode(), "line 1 is not JSON"),
        (ndjson({**FITTING, "page": "?"}).replace(b"?", b"\xff"), "line 1 is not JSON"),
    ],
)
def test_a_body_that_is_not_one_object_a_line_is_refused_whole(body: bytes, message: str):
    with pytest.raises(NotNdjsonError, match=message):
        SORTER.sort(body)


def test_a_column_type_that_is_not_known_is_a_fault_of_the_file():
    with pytest.raises(ConfigurationError, match=r"the type Map\(String, String\) is not known"):
        RowSorter(Datasource("visits", (Column("tags", "Map(String, String)"),), "MergeTree", "tuple()"))
