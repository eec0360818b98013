"""docs/settings.md and .env.example say what the declarations say, and every setting is in exactly one group."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from tracker.settings import Settings
from tracker.settings.describe import GROUPS, described, env_example, settings_page, shown
from tracker.settings.environment import read_settings

PROJECT_DIR = Path(__file__).parents[3]


def test_the_page_and_the_example_are_current() -> None:
    assert (PROJECT_DIR / "docs" / "settings.md").read_text() == settings_page(), "run make settings-page"
    assert (PROJECT_DIR / ".env.example").read_text() == env_example(), "run make settings-page"


def test_every_setting_is_described_in_one_group() -> None:
    fields = [setting.field for group in GROUPS for setting in described(group)]
    assert sorted(fields) == sorted(Settings.model_fields)
    assert all(setting.description for group in GROUPS for setting in described(group))


def test_the_example_with_every_line_in_use_gives_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line.removeprefix("#") if line.startswith("#TRACKER_") else line for line in env_example().splitlines()]
    # An empty value is not the same as none for a path or an enumeration.
    Path(".env").write_text("\n".join(line for line in lines if not line.endswith("=")))
    assert len(dotenv_values(".env")) > 60
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert {name: shown(name, value) for name, value in read_settings()} == {
        name: shown(name, value) for name, value in defaults.items()
    }
