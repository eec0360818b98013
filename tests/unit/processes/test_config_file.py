"""The ending of a configuration file's name says what it holds, and a broken file is one line."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from tracker.errors import ConfigurationError
from tracker.processes.config_file import read_config


class Colours(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    names: list[str]


def colours(path: Path) -> Colours:
    return read_config(path, Colours, what="colours file", max_bytes=100)


@pytest.mark.parametrize(("name", "text"), [("c.toml", 'names = ["red"]'), ("c.JSON", '{"names": ["red"]}')])
def test_toml_and_json_are_told_apart_by_the_name(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert colours(tmp_path / name).names == ["red"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c", b'names = ["red"]', "ends with .toml or .json"),
        ("c.yaml", b"names: [red]", "ends with .toml or .json"),
        ("c.toml", b'{"names": ["secret"]}', "is not TOML"),
        ("c.json", b'names = ["secret"]', "is not JSON"),
        ("c.toml", b"\xff", "is not UTF-8"),
        ("c.toml", b'names = [1]\nsize = "secret"', "names.0"),
        ("c.toml", b"names = []" + b"\n" * 100, "larger than 100 bytes"),
        ("missing.toml", None, "No such file"),
    ],
)
def test_a_file_that_can_not_be_used_is_one_line_without_its_values(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        colours(tmp_path / name)
    line = str(caught.value)
    assert said in line
    assert str(tmp_path / name) in line
    assert "secret" not in line
    assert "\n" not in line
