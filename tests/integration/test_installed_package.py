"""The wheel is the product: one top-level package, all files, and the whole stack runs from it."""

import json
import os
import re
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.stages import wait_until
from tracker.local.ports import free_port
from tracker.processes.children import Child
from tracker.project.files import SHIPPED

WAIT_SECONDS = 120
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
    return subprocess.run(command, cwd=cwd, env=environment, check=False, capture_output=True, text=True, timeout=60)


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


def test_from_the_wheel_alone_the_stack_numbers_an_event(installed: Path, tmp_path: Path) -> None:
    ports = {name: free_port() for name in PORTS}
    environment = {
        **os.environ,
        "PYTHONPATH": str(installed),
        "TRACKER_CACHE_DIR": str(PROJECT_DIR / ".cache"),
        "TRACKER_PARTITIONS": "2",
        **{f"TRACKER_{name}": str(port) for name, port in ports.items()},
        **{f"TRACKER_{name}": f"localhost:{free_port()}" for name in ("KAFKA_BOOTSTRAP",)},
        "TRACKER_TINYBIRD_URL": f"http://localhost:{free_port()}",
    }
    work = tmp_path / "elsewhere"
    work.mkdir()
    script = (
        "import sys, tracker.local.dev, tracker.process.main; "
        "assert 'topics' not in sys.modules and 'tracker.topics' in sys.modules; "
        f"assert tracker.__file__.startswith({str(installed)!r}); "
        "import os; os.execv(sys.executable, [sys.executable, '-m', 'tracker', 'dev'])"
    )
    log = tmp_path / "dev.log"
    dev = Child(
        "dev", [sys.executable, "-c", f"import os; os.chdir({str(work)!r}); {script}"], env=environment, output=log
    )
    try:
        wait_until(
            lambda: dev.returncode is not None or "ready; Ctrl-C" in log.read_text(), "tracker dev", WAIT_SECONDS
        )
        assert dev.returncode is None, log.read_text()
        event = {"session_id": "wheel", "event_type": "click", "page_url": "https://example.com/", "workspace_id": "w1"}
        request = urllib.request.Request(
            f"http://localhost:{ports['COLLECT_PORT']}/api/v1/events/track",
            json.dumps(event).encode(),
            {"Content-Type": "application/json"},
        )
        assert urllib.request.urlopen(request, timeout=10).status == 202
        url = f"{environment['TRACKER_TINYBIRD_URL']}/v0/sql?q=SELECT+session_event_sequence+FROM+events_v1+FORMAT+JSON"
        query = urllib.request.Request(url, headers={"Authorization": "Bearer local"})

        def numbered() -> bool:
            return b'"session_event_sequence":1' in urllib.request.urlopen(query, timeout=10).read().replace(b" ", b"")

        wait_until(numbered, "the event is a row with its number", WAIT_SECONDS)
    finally:
        dev.stop()
