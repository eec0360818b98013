"""The command line as a person meets it: help, errors, exit codes. Nothing listens at the addresses used here."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import typer
from honcho.environ import parse_procfile
from typer.testing import CliRunner, Result

from tests.patience import PATIENCE_SECONDS
from topics.catalog import CATALOG
from tracker.cli.app import app
from tracker.cli.options import command_settings
from tracker.local.ports import free_port
from tracker.local.stack import STAGES

PROJECT_DIR = Path(__file__).parents[3]


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner(env={"NO_COLOR": "1", **environment}).invoke(app, arguments, prog_name="tracker")


def commands() -> list[tuple[str, ...]]:
    """Every command that a person finds in the help, and the one without a name."""

    def below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if not hasattr(command, "commands"):
            yield path
            return
        for name, each in command.commands.items():
            yield from () if each.hidden else below(each, (*path, name))

    return [(), *below(typer.main.get_command(app), ())]


def test_the_commands_that_are_walked_are_all_of_them() -> None:
    assert {("collect",), ("verify",), ("topics", "asyncapi"), ("replay", "promote")} <= set(commands())


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert re.search(r"[Ee]xample", result.output)
    assert "\x1b[" not in result.output


@pytest.mark.parametrize(
    ("command", "typers"),
    [((), ("pydantic", "pydantic_core")), (("process",), ())],  # Typer reads a command's options with pydantic
    ids=["tracker", "process"],
)
def test_help_imports_only_the_command_line(command: tuple[str, ...], typers: tuple[str, ...]) -> None:
    """No stage, no client, no settings and no records, so that help is there at once (docs/performance.md)."""
    heavy = (
        *("faust", "aiokafka", "aiohttp", "chdb", "rocksdict", "playwright", "pydantic_settings", "msgspec", "orjson"),
        *("tracker.settings", "topics.dead_letter", "topics.records", *typers),
    )
    script = f"""
import sys
from tracker.cli import main
try:
    main()
except SystemExit:
    pass
print("loaded:", *(set({heavy!r}) & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, *command, "--help"], capture_output=True, text=True, check=False, cwd=PROJECT_DIR
    )
    assert (done.stdout.splitlines()[-1], done.stderr) == ("loaded:", "")


def test_an_unknown_command_is_a_usage_error() -> None:
    assert run("nope").exit_code == 2


def test_a_bad_option_is_a_usage_error() -> None:
    assert run("collect", "--port", "70000").exit_code == 2


def test_version_prints_the_installed_version() -> None:
    assert re.fullmatch(r"tracker \d+\.\d+\.\d+\n", run("version").output)


def test_a_bad_setting_is_one_line_that_names_its_variable() -> None:
    result = run("topics", "create", TRACKER_PARTITIONS="many", TRACKER_COLLECT_PORT="0")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("tracker: TRACKER_PARTITIONS: Input should be a valid integer")
    assert lines[1].startswith("tracker: TRACKER_COLLECT_PORT: Input should be greater than or equal to 1")


def test_kafka_out_of_reach_is_one_line_that_names_the_setting() -> None:
    address = f"localhost:{free_port()}"
    result = run("topics", "check", TRACKER_KAFKA_BOOTSTRAP=address)
    assert result.exit_code == 1
    assert result.stderr == f"tracker: no Kafka answers at {address} (TRACKER_KAFKA_BOOTSTRAP)\n"


def test_verbose_adds_the_traceback() -> None:
    result = run("-v", "topics", "check", TRACKER_KAFKA_BOOTSTRAP=f"localhost:{free_port()}")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "KafkaConnectionError" in result.stderr


def test_what_is_logged_while_a_person_waits_does_not_get_into_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    command_settings()
    structlog.get_logger().warning("a request is tried again")
    structlog.get_logger().info("chatter")
    output, errors = capsys.readouterr()
    assert output == ""
    assert "a request is tried again" in errors
    assert "chatter" not in errors


def test_describe_shows_the_catalog_without_a_broker() -> None:
    shown = json.loads(run("topics", "describe", "--json", TRACKER_TOPIC_PREFIX="shop.").output)
    assert [topic["topic"] for topic in shown] == [f"shop.{topic.suffix}" for topic in CATALOG]
    assert run("topics", "describe").output.count("purpose") == len(CATALOG)


def test_an_option_wins_over_the_environment() -> None:
    taken = free_port()
    # The port of the option is refused, so it is the one that is used.
    result = run(
        "local", "kafka", "--port", str(taken), TRACKER_KAFKA_BOOTSTRAP="elsewhere:1", JAVA_HOME="/nonexistent"
    )
    assert result.exit_code == 1
    assert "java" in result.stderr
    assert "elsewhere" not in result.stderr


def test_the_procfile_runs_the_stages_of_tracker_dev() -> None:
    procfile = parse_procfile((PROJECT_DIR / "Procfile").read_text())
    assert dict(procfile.processes) == {stage: f"tracker {stage}" for stage in STAGES}


def test_a_data_directory_that_can_not_be_used_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**os.environ, "TRACKER_DATA_DIR": str(tmp_path / "file" / "data")}
    environment["TRACKER_KAFKA_BOOTSTRAP"] = f"localhost:{free_port()}"
    environment["TRACKER_TINYBIRD_URL"] = f"http://localhost:{free_port()}"
    environment |= {
        f"TRACKER_{name}_PORT": str(free_port()) for name in ("COLLECT", "COLLECT_METRICS", "PROCESS", "SINK")
    }
    commands = ("collect", "collect --processes 2", "process", "sink", "local kafka", "local tinybird")
    running = {
        command: subprocess.Popen(
            [sys.executable, "-m", "tracker", *command.split()],
            env=environment, cwd=PROJECT_DIR, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )
        for command in commands
    }  # fmt: skip
    for command, process in running.items():
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        said = [line for line in errors.splitlines() if line.startswith("tracker: ")]
        assert (process.returncode, len(said)) == (1, 1), f"{command}: {errors}"
        assert "TRACKER_DATA_DIR has to be writable" in said[0], command
        assert "Traceback" not in errors, command


def test_ctrl_c_ends_quietly_with_130(tmp_path: Path) -> None:
    # A Kafka that accepts connections and never answers: the command waits for it.
    script = """
import socket, subprocess, sys
with socket.create_server(("127.0.0.1", 0)) as silent:
    print(silent.getsockname()[1], flush=True)
    connection, _ = silent.accept()
    print("connected", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as silent:
        assert silent.stdout is not None
        port = silent.stdout.readline().strip()
        with subprocess.Popen(
            [sys.executable, "-m", "tracker", "topics", "check"],
            env={**os.environ, "TRACKER_KAFKA_BOOTSTRAP": f"127.0.0.1:{port}", "PYTHONPATH": str(PROJECT_DIR)},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        ) as command:
            assert silent.stdout.readline() == "connected\n"
            command.send_signal(signal.SIGINT)
            _, errors = command.communicate(timeout=PATIENCE_SECONDS)
        silent.communicate("")
    assert (command.returncode, errors) == (130, "")


def test_dev_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "honcho.colour", None)
    result = run("dev", "--data-dir", str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr == "tracker: honcho is not installed: pip install 'event-tracker[local]'\n"


def test_the_snippet_that_is_printed_is_the_documented_one() -> None:
    result = run("sdk", "snippet", "https://collect.example.com")
    assert result.exit_code == 0
    documented = (PROJECT_DIR / "docs/tracker-js.md").read_text()
    queue, script = result.output.strip().split("\n")
    assert queue in documented
    assert re.findall(r'integrity="[^"]+"', script) == re.findall(r'integrity="[^"]+"', documented)


def test_the_snippet_takes_key_and_nonce_and_can_follow_the_releases() -> None:
    options = ("--key", "THE-WRITE-KEY", "--nonce", "n1", "--newest")
    output = run("sdk", "snippet", "https://collect.example.com/", *options).output
    assert output.count('nonce="n1"') == 2
    assert 'src="https://collect.example.com/tracker.js" data-key="THE-WRITE-KEY"' in output
    assert "integrity" not in output
