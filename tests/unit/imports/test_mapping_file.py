"""Mapping files: what they may say, what extends what, and the ones that are ready."""

from pathlib import Path

import pytest

from tracker.errors import ConfigurationError
from tracker.imports.mapping import Default, read_mapping, ready_mappings
from tracker.imports.rows import RowMapper


def written(directory: Path, text: str, name: str = "mapping.toml") -> str:
    (directory / name).write_text(text)
    return str(directory / name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[columns]\nsesion_id = "sid"\n', "an event has no field sesion_id"),
        ('[drop]\nkind = ["a"]\n', "an event has no field kind"),
        ('[otherwise]\nevent_type = "keep"\n', r"otherwise\.event_type"),
        ('[columns]\npage_url = "a..b"\n', r"'a\.\.b' is no column"),
        ("[columns]\npage_url = []\n", r"columns\.page_url"),
        ('[columns]\nmetadata = "a"\n[metadata]\nb = "b"\n', "metadata is either"),
        ('time = "unix_ns"\n', "time"),
        ("columns = \n", "is not TOML"),
        ('extends = "mapping.toml"\n', "no circle"),
        ('extends = "nowhere.toml"\n', "No such file"),
    ],
)
def test_what_a_mapping_can_not_say_is_an_error_that_names_it(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_mapping(written(tmp_path, text))


def test_a_mapping_extends_one_that_is_ready_key_by_key(tmp_path: Path) -> None:
    text = 'extends = "posthog"\n[values.event_type]\nupgraded = "conversion"\n[otherwise]\nevent_type = "drop"\n'
    mapping = read_mapping(written(tmp_path, text))
    assert mapping.values["event_type"]["upgraded"] == "conversion"
    assert mapping.values["event_type"]["$pageview"] == "pageview"
    assert mapping.otherwise == {
        "event_type": "drop", "passive": Default(default="false"), "device_type": Default(default="other")
    }  # fmt: skip


def test_a_mapping_extends_a_file_beside_it(tmp_path: Path) -> None:
    written(tmp_path, 'time = "unix_us"\n[constants]\nworkspace_id = "w"\n', "base.toml")
    mapping = read_mapping(written(tmp_path, 'extends = "base.toml"\n[constants]\nproject_id = "p"\n'))
    assert (mapping.time, mapping.constants) == ("unix_us", {"workspace_id": "w", "project_id": "p"})


def test_a_name_that_is_no_file_and_not_ready_lists_what_is() -> None:
    with pytest.raises(ConfigurationError, match="one of ga4, matomo, posthog, segment"):
        read_mapping("mixpanel")


@pytest.mark.parametrize("name", ready_mappings())
def test_the_mappings_that_are_ready_can_be_read(name: str) -> None:
    assert RowMapper(read_mapping(name)).coverage.missing


def test_a_mapping_may_be_json_by_the_ending_of_its_name(tmp_path: Path) -> None:
    mapping = read_mapping(written(tmp_path, '{"time": "unix_s", "columns": {"page_url": "url"}}', "mapping.json"))
    assert (mapping.time, mapping.columns) == ("unix_s", {"page_url": ["url"]})


def test_a_mapping_that_is_no_object_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="a mapping is an object"):
        read_mapping(written(tmp_path, "[]", "mapping.json"))
