"""The wheel is the product: one top-level package, all files, and the whole stack runs from it."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.patience import PATIENCE_SECONDS
from tests.stages import wait_until
from tracker.local.ports import free_port
from tracker.processes.children import Child
from tracker.project.files import SHIPPED

PORTS = ("COLLECT_PORT", "COLLECT_METRICS_PORT", "PROCESS_PORT", "SINK_PORT")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what is committed or about to be, not from what lies around."""
    source = tmp_path_factory.mktemp("source")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=PROJECT_DIR, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        path = PROJECT_DIR / name
        if path.is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(path.read_bytes())
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation", "-w", target, source]
    subprocess.run(build, check=True)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, to be found before the checkout's."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", target, wheel], check=True)
    return target


def run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "tracker", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )


def test_the_wheel_has_one_top_level_package_and_every_shipped_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"tracker"}
    shipped = [name.removeprefix("tracker/project/files/") for name in names if "/project/files/" in name]
    assert {name.split("/")[0] for name in shipped} == set(SHIPPED)
    for name in shipped:
        assert (PROJECT_DIR / name).is_file(), name


def test_no_file_imports_topics_in_a_form_that_the_build_misses() -> None:
    other = re.compile(r"^\s*import topics\b|import_module\(.topics|importlib.*topics", re.MULTILINE)
    files = [path for top in ("topics", "tracker") for path in (PROJECT_DIR / top).rglob("*.py")]
    assert not [str(path) for path in files if other.search(path.read_text())]


def test_the_project_is_exported_whole_and_changed_files_are_kept(installed: Path, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    assert run(installed, tmp_path, "project", "export", "mine").returncode == 0
    ours = PROJECT_DIR / "tinybird" / "datasources" / "events_v1.datasource"
    theirs = target / "tinybird" / "datasources" / "events_v1.datasource"
    assert theirs.read_bytes() == ours.read_bytes()
    assert (target / "ops" / "helm" / "tracker" / "files" / "alerts.yml").is_file()

    theirs.write_text("mine")
    refused = run(installed, tmp_path, "project", "export", "mine")
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    assert theirs.read_text() == "mine"
    assert run(installed, tmp_path, "project", "export", "mine", "--force").returncode == 0
    assert theirs.read_bytes() == ours.read_bytes()


class Stack:
    """``tracker dev`` in an empty folder, on ports of its own."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.ports = {name: free_port() for name in PORTS}
        self.tinybird_url = f"http://localhost:{free_port()}"
        self.log = directory / "dev.log"
        self.directory = directory / "elsewhere"
        self.directory.mkdir()
        self.environment = {
            **environment,
            "TRACKER_CACHE_DIR": str(PROJECT_DIR / ".cache"),
            "TRACKER_PARTITIONS": "2",
            "TRACKER_KAFKA_BOOTSTRAP": f"localhost:{free_port()}",
            "TRACKER_TINYBIRD_URL": self.tinybird_url,
            **{f"TRACKER_{name}": str(port) for name, port in self.ports.items()},
        }

    def numbers_an_event(self, python: Path, check: str) -> None:
        """Start it, unless a check in Python fails there, send an event, and wait until Tinybird has its row."""
        script = (
            f"import os, sys; os.chdir({str(self.directory)!r}); {check}; "
            "os.execv(sys.executable, [sys.executable, '-m', 'tracker', 'dev'])"
        )
        dev = Child("dev", [str(python), "-c", script], env=self.environment, output=self.log)
        try:
            ready = "ready; Ctrl-C"
            wait_until(lambda: dev.returncode is not None or ready in self.log.read_text(), "tracker dev")
            assert dev.returncode is None, self.log.read_text()
            self._send()
            wait_until(self._has_a_number, "the event is a row with its number")
            state = f"http://localhost:{self.ports['COLLECT_PORT']}/api/v1/events/session/wheel"
            with urllib.request.urlopen(state, timeout=PATIENCE_SECONDS) as answer:
                assert json.load(answer)["event_sequence"] == 1
        finally:
            dev.stop()

    def _send(self) -> None:
        event = {"session_id": "wheel", "event_type": "click", "page_url": "https://example.com/", "workspace_id": "w1"}
        request = urllib.request.Request(
            f"http://localhost:{self.ports['COLLECT_PORT']}/api/v1/events/track",
            json.dumps(event).encode(),
            {"Content-Type": "application/json"},
        )
        assert urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).status == 202

    def _has_a_number(self) -> bool:
        url = f"{self.tinybird_url}/v0/sql?q=SELECT+session_event_sequence+FROM+events_v1+FORMAT+JSON"
        query = urllib.request.Request(url, headers={"Authorization": "Bearer local"})
        return b'"session_event_sequence":1' in urllib.request.urlopen(query, timeout=PATIENCE_SECONDS).read().replace(
            b" ", b""
        )


def test_from_the_wheel_alone_the_stack_numbers_an_event(installed: Path, tmp_path: Path) -> None:
    stack = Stack(tmp_path, **{**os.environ, "PYTHONPATH": str(installed)})
    stack.numbers_an_event(
        Path(sys.executable),
        "import tracker.local.dev, tracker.process.main; "
        "assert 'topics' not in sys.modules and 'tracker.topics' in sys.modules; "
        f"assert tracker.__file__.startswith({str(installed)!r})",
    )


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of a virtual environment with the wheel and what it depends on, and nothing else."""
    if not os.environ.get("TRACKER_TEST_WHEEL"):
        pytest.skip("make wheel-check runs this: it fetches all dependencies anew")
    directory = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    subprocess.run([directory / "bin" / "pip", "install", "-qq", wheel], check=True)
    return directory / "bin"


def test_a_new_user_gets_one_line_for_each_missing_extra(clean: Path, tmp_path: Path) -> None:
    def said(command: str) -> tuple[int, str]:
        environment = {"PATH": f"{clean}:/usr/bin:/bin", "HOME": str(tmp_path), "NO_COLOR": "1"}
        done = subprocess.run(
            ["tracker", *command.split()],
            cwd=tmp_path, env=environment, check=False, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    assert re.fullmatch(r"tracker \d+\.\d+\.\d+\n", said("--version")[1])
    assert said("settings --changed") == (0, "every setting has its default\n")
    for command, extra in (
        ("dev", "local"), ("local tinybird", "local"), ("demo --check", "demo"), ("demo", "local"),
        ("import --name a --dry-run a.parquet", "parquet"),
    ):  # fmt: skip
        code, line = said(command)
        assert (code, line.count("\n")) == (1, 1), f"{command}: {line}"
        assert f"pip install 'event-tracker[{extra}]'" in line, command


def test_a_new_user_has_a_numbered_row_within_minutes(clean: Path, wheel: Path, tmp_path: Path) -> None:
    begin = time.monotonic()
    subprocess.run([clean / "pip", "install", "-qq", f"{wheel}[local]"], check=True)
    stack = Stack(tmp_path, PATH=f"{clean}:{os.environ['PATH']}", HOME=str(tmp_path))
    stack.numbers_an_event(
        clean / "python", f"import tracker; assert tracker.__file__.startswith({str(clean.parent)!r})"
    )
    print(f"first numbered row {time.monotonic() - begin:.0f} s after the installation began")
