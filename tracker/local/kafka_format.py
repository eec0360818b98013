"""The directory that a local broker begins with. Kafka's own tool formats the first; others get a copy of its file.

The tool is a Java program and costs a third of a broker's start. Apart from the ids, its files depend on Kafka's
version alone, if the broker has no users.
"""

import base64
import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tracker import clock

#: The first records of the metadata log: the levels of Kafka's features.
BOOTSTRAP_FILE: Final = "bootstrap.checkpoint"
#: Names the directory and its cluster. Written last: a directory that has it is formatted.
META_FILE: Final = "meta.properties"


def new_kafka_id() -> str:
    """Return an id for a new cluster or directory, in Kafka's form."""
    return base64.urlsafe_b64encode(uuid.UUID(clock.new_id()).bytes).decode().rstrip("=")


def is_formatted(log_dir: Path) -> bool:
    """Tell whether a broker can start on the directory."""
    return (log_dir / META_FILE).exists()


def format_like(pattern: Path, log_dir: Path, *, node_id: int, cluster_id: str, run_tool: Callable[[], None]) -> None:
    """Format a broker's directory as the tool would, with a new directory id.

    Args:
        pattern: A bootstrap file of the same Kafka version. If it is missing, the tool runs and its file is kept there.
        log_dir: The directory, which need not exist.
        node_id: The broker's.
        cluster_id: As ``new_kafka_id`` gives it.
        run_tool: Formats ``log_dir`` with Kafka's own tool.
    """
    if not pattern.exists():
        run_tool()
        with contextlib.suppress(OSError):  # the cache can't be written: the tool runs at the next start, too
            _copy_whole(log_dir / BOOTSTRAP_FILE, pattern)
        return
    log_dir.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(pattern, log_dir / BOOTSTRAP_FILE)
    meta = {"version": 1, "cluster.id": cluster_id, "node.id": node_id, "directory.id": new_kafka_id()}
    (log_dir / META_FILE).write_text("".join(f"{name}={value}\n" for name, value in meta.items()))


def _copy_whole(source: Path, target: Path) -> None:
    """Copy a file so that other processes see all of it or none."""
    with tempfile.TemporaryDirectory(prefix=f"{target.name}-", dir=target.parent) as scratch:
        shutil.copyfile(source, Path(scratch, target.name)).rename(target)
