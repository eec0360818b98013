"""The datasource files of this project are the rows that it writes: the two can't drift apart."""

import re
import types
import typing
from datetime import datetime
from typing import Annotated, Any, Literal

import pytest
import typing_extensions

from tests.fixtures.kafka import PROJECT_DIR
from topics.event import EventData
from topics.session import SessionRow
from topics.system.usage import UsageRow
from tracker.datasources.files import Datasource, read_datasources, shipped_datasources

DATASOURCES = {datasource.name: datasource for datasource in read_datasources(PROJECT_DIR / "tinybird")}
COLUMN_TYPES = {
    str: {"String"},
    int: {"UInt32", "UInt64"},
    float: {"Float64"},
    bool: {"Bool"},
    datetime: {"DateTime64(3)"},
}


def python_type(hint: Any) -> tuple[type, bool]:
    """The plain type behind a hint, and whether None or absence is allowed."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return python_type(arguments[0])
    if origin in (typing_extensions.NotRequired, typing.NotRequired):
        return python_type(arguments[0])[0], True
    if origin in (types.UnionType, typing.Union):
        (inner,) = (argument for argument in arguments if argument is not types.NoneType)
        return python_type(inner)[0], True
    if origin is Literal:
        return type(arguments[0]), False
    return hint, False


@pytest.mark.parametrize(
    ("name", "row"), [("events_v1", EventData), ("session_v1", SessionRow), ("usage_v1", UsageRow)]
)
def test_columns_are_the_fields_in_their_order_and_types(name: str, row: type):
    fields = typing_extensions.get_type_hints(row, include_extras=True)
    columns = DATASOURCES[name].columns

    assert [column.name for column in columns] == list(fields)
    for column in columns:
        plain, optional = python_type(fields[column.name])
        column_type = re.sub(r"(Nullable|LowCardinality)\((.+)\)", r"\2", column.type)
        assert column_type in COLUMN_TYPES[plain], column
        assert column.nullable == optional, column


def test_there_is_a_datasource_for_each_row_and_no_other():
    assert set(DATASOURCES) == {"events_v1", "session_v1", "usage_v1"}


def test_a_resent_event_collapses_by_its_id_and_a_session_by_its_version():
    events, sessions = DATASOURCES["events_v1"], DATASOURCES["session_v1"]

    assert sorting_columns(events)[-1] == "id"
    assert events.version_column is None
    assert sorting_columns(sessions) == ["workspace_id", "session_id"]
    assert sessions.version_column == "version"


def sorting_columns(datasource: Datasource) -> list[str]:
    return datasource.sorting_key.split(", ")


def test_the_package_finds_the_same_files():
    assert shipped_datasources() == DATASOURCES
