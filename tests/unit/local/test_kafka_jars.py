"""What the broker needs from the machine, with programs that stand in for Java and Maven."""

from pathlib import Path

import pytest

from tracker.errors import ConfigurationError
from tracker.local.kafka_jars import KAFKA_VERSION, fetch_jars, find_java

MAVEN_THAT_COPIES = """\
for word in "$@"; do case "$word" in -DoutputDirectory=*) target="${word#*=}";; esac; done
/bin/mkdir -p "$target" && : > "$target/kafka.jar"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An otherwise empty PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return path


def install(path: Path, name: str, script: str) -> Path:
    program = path / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("version", ["17.0.15", "21", "25-ea"])
def test_a_recent_java_is_taken(programs: Path, version: str):
    java = install(programs, "java", f"""echo 'openjdk version "{version}"' >&2""")

    assert find_java() == str(java)


def test_a_java_is_asked_for_its_version_once(programs: Path, tmp_path: Path):
    asked = tmp_path / "asked"
    install(programs, "java", f"""echo once >>'{asked}'; echo 'version "17"' >&2""")

    assert find_java() == find_java()
    assert asked.read_text() == "once\n"


@pytest.mark.parametrize(("version", "shown"), [("11.0.2", "11"), ("1.8.0_392", "8")])
def test_an_old_java_is_refused_with_what_to_install(programs: Path, version: str, shown: str):
    install(programs, "java", f"""echo 'openjdk version "{version}"' >&2""")

    with pytest.raises(ConfigurationError, match=f"is Java {shown}, .*apt-get install openjdk-17.*docker compose"):
        find_java()


def test_a_missing_java_is_one_line_with_what_to_install(programs: Path):
    with pytest.raises(ConfigurationError, match="no java in the PATH: apt-get install openjdk-17") as raised:
        find_java()

    assert "\n" not in str(raised.value)


def test_java_home_goes_before_the_path(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install(programs, "java", """echo 'version "17"' >&2""")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "gone"))

    with pytest.raises(ConfigurationError, match="no java in JAVA_HOME="):
        find_java()


def test_a_missing_maven_is_one_line_with_what_to_install(programs: Path, tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"no mvn in the PATH.*apt-get install .* maven") as raised:
        fetch_jars(tmp_path / "cache")

    assert "\n" not in str(raised.value)


def test_the_jars_are_fetched_once(programs: Path, tmp_path: Path):
    maven = install(programs, "mvn", MAVEN_THAT_COPIES)

    jars = fetch_jars(tmp_path / "cache")
    maven.unlink()

    assert fetch_jars(tmp_path / "cache") == jars
    assert [file.name for file in jars.iterdir()] == ["kafka.jar"]
    assert [entry.name for entry in jars.parent.iterdir()] == [f"kafka-{KAFKA_VERSION}"]


def test_a_fetch_that_fails_half_way_leaves_nothing_and_says_why(programs: Path, tmp_path: Path):
    install(programs, "mvn", MAVEN_THAT_COPIES + 'echo "[ERROR] Could not transfer artifact"; exit 1')

    with pytest.raises(ConfigurationError, match="Could not transfer artifact"):
        fetch_jars(tmp_path / "cache")

    assert list((tmp_path / "cache").iterdir()) == []
