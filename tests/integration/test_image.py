"""The stages from the container image's own root, as its user, number an event. Needs root, buildah and a built image.

``make image-check`` builds the image and runs this; without an image it is skipped.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird
from tests.patience import PATIENCE_SECONDS
from tests.stages import wait_until
from tracker.kafka import admin
from tracker.local.kafka import LocalKafka
from tracker.local.ports import LOOPBACK, free_port
from tracker.processes.children import Child
from tracker.settings import Settings

STAGES = ("collect", "process", "sink")
(VERSION,) = re.findall(r'^version = "(.*)"', (PROJECT_DIR / "pyproject.toml").read_text(), re.MULTILINE)
IMAGE = f"localhost/tracker:{VERSION}"


def buildah(*arguments: str) -> str:
    done = subprocess.run(["buildah", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def root() -> Iterator[Path]:
    """The image's file system, mounted."""
    if os.getuid() or shutil.which("buildah") is None:
        pytest.skip("mounting an image needs root and buildah")
    if subprocess.run(["buildah", "inspect", "--type", "image", IMAGE], check=False, capture_output=True).returncode:
        pytest.skip(f"there is no image {IMAGE}: make image-check builds it")
    container = buildah("from", "--pull-never", IMAGE)
    yield Path(buildah("mount", container))
    buildah("umount", container)
    buildah("rm", container)


def test_the_image_is_small_and_has_no_build_tools(root: Path) -> None:
    config = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == ["CMD", "tracker", "health"]
    names = {
        path.name for folder in ("usr/bin", "usr/local/bin", "opt/tracker/bin") for path in (root / folder).glob("*")
    }
    assert not {"gcc", "cc", "make", "git", "mvn", "java"} & names
    assert not list((root / "opt/tracker/bin").glob("pip*"))
    assert not list((root / "opt/tracker").rglob("chdb"))


def test_the_stages_from_the_image_number_an_event(
    root: Path, kafka_broker: LocalKafka, local_tinybird: LocalTinybird, tmp_path: Path
) -> None:
    settings = Settings(kafka_bootstrap=kafka_broker.bootstrap, topic_prefix=f"image-{free_port()}.", partitions=2)
    asyncio.run(admin.create_topics(settings))
    ports = {name: free_port() for name in ("COLLECT", "COLLECT_METRICS", "PROCESS", "SINK")}
    environment = {
        "PATH": "/opt/tracker/bin:/usr/bin:/bin",
        "TRACKER_DATA_DIR": "/data",
        "TRACKER_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "TRACKER_TOPIC_PREFIX": settings.topic_prefix,
        "TRACKER_PARTITIONS": "2",
        "TRACKER_TINYBIRD_URL": local_tinybird.url,
        "TRACKER_TINYBIRD_TOKEN": local_tinybird.token,
        **{f"TRACKER_{name}_PORT": str(port) for name, port in ports.items()},
    }
    chroot = [shutil.which("chroot") or "/usr/sbin/chroot", "--userspec=10001:10001", str(root)]
    children = [
        Child(stage, [*chroot, "tracker", stage], env=environment, output=tmp_path / f"{stage}.log") for stage in STAGES
    ]
    try:

        def all_are_well() -> bool:
            for child in children:
                assert child.returncode is None, (tmp_path / f"{child.name}.log").read_text()
            asked = [*chroot, "tracker", "health", "--ready", "--json"]
            done = subprocess.run(asked, env=environment, check=False, capture_output=True, text=True)
            return done.returncode == 0 and len(json.loads(done.stdout)) == len(STAGES)

        wait_until(all_are_well, "all stages are ready")
        session = f"image-{free_port()}"
        event = {"session_id": session, "event_type": "click", "page_url": "https://a.example/", "workspace_id": "w1"}
        address = f"http://{LOOPBACK}:{ports['COLLECT']}/api/v1/events/track"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(address, json.dumps(event).encode(), headers)
        assert urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).status == 202
        query = f"SELECT session_event_sequence AS n FROM events_v1 FINAL WHERE session_id = '{session}' FORMAT JSON"
        wait_until(lambda: [row["n"] for row in local_tinybird.sql(query)] == [1], "the numbered row")
    finally:
        for child in children:
            child.stop()
    assert [child.returncode for child in children] == [0, 0, 0]
