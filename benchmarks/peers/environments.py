"""Where the other engines come from: an environment and a directory of jars, made in the cache when asked for."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measure import PROJECT_DIR
from tracker.errors import ConfigurationError
from tracker.local.commands import run_quietly
from tracker.local.kafka_jars import find_java
from tracker.settings import Settings

QUIX_STREAMS: Final = "quixstreams==3.28.1"
FETCH_TIMEOUT_SECONDS: Final = 900
SHOWN_LINES: Final = 5
_KAFKA_STREAMS_DIR: Final = Path(__file__).with_name("kafka_streams")


def quix_python() -> Path:
    """Return the Python of an environment that has Quix Streams: it pins much of what we use to other versions.

    Raises:
        ConfigurationError: it can't be installed.
    """
    home = _cache() / QUIX_STREAMS.replace("==", "-")
    if not home.is_dir():
        _say(f"installing {QUIX_STREAMS}")
        with tempfile.TemporaryDirectory(prefix="quix-", dir=_cache()) as scratch:
            fresh = Path(scratch, "venv")
            _run([sys.executable, "-m", "venv", str(fresh)])
            _run([f"{fresh}/bin/python", "-m", "pip", "install", "-qq", QUIX_STREAMS])
            fresh.rename(home)
    return home / "bin" / "python"


def kafka_streams_command() -> list[str]:
    """Return the command that runs the Java peer, compiled; its arguments follow.

    Raises:
        ConfigurationError: Java or Maven is missing, or can't bring it.
    """
    java, jars, source = find_java(), _cache() / "kafka-streams", _KAFKA_STREAMS_DIR / "NumberEvents.java"
    if not jars.is_dir():
        maven = shutil.which("mvn")
        if maven is None:
            raise ConfigurationError("no mvn in the PATH, so Kafka Streams can't be fetched: apt-get install maven")
        _say("fetching Kafka Streams")
        with tempfile.TemporaryDirectory(prefix="streams-", dir=_cache()) as scratch:
            copy = ["dependency:copy-dependencies", f"-DoutputDirectory={scratch}/jars"]
            _run([maven, "-q", "-B", "-f", str(_KAFKA_STREAMS_DIR / "pom.xml"), *copy])
            Path(scratch, "jars").rename(jars)
    compiler = next(jars.glob("ecj-*.jar"))
    classes = _cache() / "kafka-streams-classes"
    _run([java, "-jar", str(compiler), "-17", "-nowarn", "-cp", ":".join(map(str, jars.glob("*.jar"))),
          "-d", str(classes), str(source)])  # fmt: skip
    return [java, "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp", f"{classes}:{jars}/*", source.stem]  # fmt: skip


def _cache() -> Path:
    directory = PROJECT_DIR / Settings().cache_dir / "peers"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _run(command: Sequence[str]) -> None:
    answer = run_quietly(command, timeout_seconds=FETCH_TIMEOUT_SECONDS)
    if answer.returncode != 0:
        lines = answer.stdout.splitlines()[-SHOWN_LINES:]
        raise ConfigurationError("\n".join([f"{' '.join(command[:4])} … failed:", *lines]))


def _say(line: str) -> None:
    print(f"{line}: once, a minute or two", file=sys.stderr)
