"""Rows of files into records: columns, constants, values, times, numbers; and the order of their own time."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics.codec import RejectedRecord
from tracker.errors import ConfigurationError
from tracker.imports.mapping import ColumnMapping, Mapped, RowMapper, read_mapping
from tracker.imports.order import Placed, in_order

ROW = {"session_id": "s-1", "timestamp": "2025-03-01T10:00:00.5Z", "event_type": "click", "page_url": "https://x/"}


def mapped(row: dict, **mapping) -> tuple[int, dict]:
    record = RowMapper(ColumnMapping(**mapping)).map(row)
    return record.timestamp_ms, json.loads(record.value)


def test_columns_that_are_named_as_fields_need_no_mapping() -> None:
    time_ms, record = mapped(ROW)
    assert time_ms == 1_740_823_200_500
    assert record["session_id"] == "s-1"
    assert record["timestamp"] == "2025-03-01T10:00:00.500Z"
    assert record["data"] == {"event_type": "click", "page_url": "https://x/"}


def test_columns_constants_and_values_are_mapped() -> None:
    _, record = mapped(
        {"sid": "s", "at": "1740823200", "kind": "view", "w": "1280", "load": "12.5"},
        columns={
            "session_id": "sid",
            "timestamp": "at",
            "event_type": "kind",
            "viewport_width": "w",
            "page_load_time": "load",
        },
        constants={"workspace_id": "w1"},
        values={"event_type": {"view": "pageview"}},
        time="unix_s",
    )
    assert record["data"] == {
        "workspace_id": "w1",
        "event_type": "pageview",
        "viewport_width": 1280,
        "page_load_time": 12.5,
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"session_id": None}, "session_id"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"event_type": "dance"}, "event_type"),
        ({"viewport_width": "wide"}, "viewport_width"),
        ({"viewport_width": float("inf")}, "viewport_width"),
        ({"shoe_size": "43"}, "shoe_size"),
        ({"session_id": "\ud800"}, "JSON"),
    ],
)
def test_a_row_that_is_no_event_is_rejected_with_its_reason(change: dict, reason: str) -> None:
    with pytest.raises(RejectedRecord) as rejected:
        mapped({**ROW, **change})
    assert reason in rejected.value.detail


def test_other_columns_are_ignored_only_when_told_so() -> None:
    _, record = mapped({**ROW, "shoe_size": "43"}, ignore_other_columns=True)
    assert "shoe_size" not in record["data"]


def test_a_time_without_a_zone_is_utc() -> None:
    with_zone = datetime(2025, 3, 1, 10, tzinfo=UTC)
    without = with_zone.replace(tzinfo=None)  # as Parquet has it
    assert mapped({**ROW, "timestamp": without})[0] == mapped({**ROW, "timestamp": with_zone})[0]


def test_a_mapping_file_that_names_an_unknown_field_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mapping.toml"
    path.write_text('[columns]\nsesion_id = "sid"\n')
    with pytest.raises(ConfigurationError, match="sesion_id"):
        read_mapping(path)


@given(st.lists(st.integers(0, 50)), st.integers(1, 20))
def test_rows_come_out_in_order_and_none_is_lost(times: list[int], window: int) -> None:
    late: list[Placed] = []
    rows = [Placed(time, 0, line, Mapped(time, b"k", b"v")) for line, time in enumerate(times)]
    out = list(in_order(rows, window, lambda row, _: late.append(row)))
    assert out == sorted(out)
    assert sorted([*out, *late]) == sorted(rows)
    if window >= len(times):
        assert not late
