"""Files as rows: arrays and lines of JSON, however they are cut into pieces; damage is one clear line."""

import gzip
import io
import json
from pathlib import Path
from unittest.mock import patch

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tracker.errors import ConfigurationError
from tracker.imports import json_array
from tracker.imports.readers import raw_text, read_rows

VISITS = [{"a": 1, "b": ']},{[\\"ü'}, {}, {"c": [{"d": [1, 2]}]}]


def rows(path: Path) -> list:
    return [row.fields for row in read_rows(str(path), None)]


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_gives_its_elements(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "visits.json.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf \n" + json.dumps(VISITS, indent=indent).encode()))
    assert rows(path) == VISITS
    assert [json.loads(raw_text(row.source)) for row in read_rows(str(path), None)] == VISITS


@given(
    st.lists(
        st.recursive(st.integers() | st.text() | st.none(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
    ),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
)
def test_an_array_is_the_same_wherever_it_is_cut(elements: list, chunk_chars: int, indent: int | None) -> None:
    file = io.BufferedReader(io.BytesIO(json.dumps(elements, ensure_ascii=False, indent=indent).encode()))
    with patch.object(json_array, "CHUNK_CHARS", chunk_chars):
        assert json_array.begins_array(file)
        assert [element.value for element in json_array.read_array("a.json", file)] == elements


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b'[{"a": 1}, {"a": ', "element 2 can't be read"),
        ("a.json", b'[{"a": 1}, oops]', "element 2 can't be read"),
        ("a.json", b"[1, 2", "element 2 can't be read"),
        ("a.json.gz", gzip.compress(b"[]", mtime=0)[:-9], "is damaged"),
        ("a.ndjson.gz", gzip.compress(bytes(1_000), mtime=0)[:20] + b"x" * 9, "is damaged"),
        ("a.csv", b"a\n" + b"x" * 1_100_000, "is damaged: field larger"),
        ("a.parquet", b"PAR1", "is no Parquet file"),
    ],
)
def test_a_damaged_file_is_one_clear_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError, match=says) as error:
        list(read_rows(str(tmp_path / name), None))
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_before_the_first_line_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n')
    assert rows(tmp_path / "a.ndjson") == [{"a": 1}, {"a": 2}]


def test_what_is_null_in_a_parquet_file_is_not_there_at_any_depth(tmp_path: Path) -> None:
    nested = [{"p": [{"k": "a", "v": {"s": "x"}}, {"k": "b", "v": {"n": 1}}], "o": "o"}, {"p": None}]
    parquet.write_table(pyarrow.Table.from_pylist(nested), tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet") == [nested[0], {}]
    texts = [raw_text(row.source) for row in read_rows(str(tmp_path / "a.parquet"), None)]
    assert json.loads(texts[1]) == {"p": None, "o": None}
