"""Settings are read from the environment and .env; what is wrong with them is said in one line each."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tracker.errors import ConfigurationError
from tracker.settings import Settings
from tracker.settings.environment import error_lines, is_secret, read_settings, variable

PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TRACKER_PARTITIONZ", "TRACKER_PARTITIONS"),
        ("tracker_kafka_bootstraps", "TRACKER_KAFKA_BOOTSTRAP"),
        ("TRACKER_TINYBIRD_TOKN", "TRACKER_TINYBIRD_TOKEN"),
    ],
)
def test_a_misspelt_variable_is_an_error_that_names_the_nearest_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigurationError, match=f"{name} in the environment is no setting; .* is {nearest} "):
        read_settings()


def test_a_misspelt_name_in_the_env_file_is_an_error_too(empty_directory: Path) -> None:
    (empty_directory / ".env").write_text("TRACKER_COLLECT_PROT=8080\nOTHER_PROGRAM=1\n")
    with pytest.raises(ConfigurationError, match=r"TRACKER_COLLECT_PROT in \.env .* TRACKER_COLLECT_PORT"):
        read_settings()


def test_names_of_the_test_suite_and_of_other_programs_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKER_TEST_SEED", "1")
    monkeypatch.setenv("TRACKING_ID", "1")
    assert read_settings(partitions=3).partitions == 3


def test_a_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {field for field in Settings.model_fields if is_secret(field)}
    assert secrets >= {"kafka_sasl_password", "tinybird_token", "tinybird_read_token"}
    with pytest.raises(ValidationError) as raised:
        read_settings(tinybird_token=["hunter2"])
    (line,) = error_lines(raised.value)
    assert line.startswith("TRACKER_TINYBIRD_TOKEN: ")
    assert "hunter2" not in line


def test_a_value_out_of_bounds_is_named_with_its_variable_and_its_meaning() -> None:
    with pytest.raises(ValidationError) as raised:
        read_settings(partitions=0, cookie_same_site="none", cookie_secure=False)
    assert list(error_lines(raised.value)) == [
        "TRACKER_PARTITIONS: Input should be greater than or equal to 1 (got 0); it is the partitions of every topic"
    ]


def test_settings_that_exclude_each_other_are_both_named() -> None:
    with pytest.raises(ValidationError) as raised:
        read_settings(cookie_same_site="none", cookie_secure=False)
    (line,) = error_lines(raised.value)
    assert line.startswith("browsers refuse TRACKER_COOKIE_SAME_SITE=none")


def test_what_scripts_and_fixtures_read_is_a_setting_or_a_variable_of_the_tests() -> None:
    files = [PROJECT / "Makefile", *(PROJECT / "scripts").iterdir(), *(PROJECT / "tests/fixtures").glob("*.py")]
    files += (PROJECT / "tests/browser").glob("*.py")
    read = {name for file in files for name in re.findall(r"TRACKER_[A-Z_]*[A-Z]", file.read_text())}
    assert read
    known = {variable(field) for field in Settings.model_fields}
    assert {name for name in read - known if not name.startswith("TRACKER_TEST_")} == set()
