"""A broker's directory: formatted by Kafka's tool once, by a copy of its file from then on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tracker.local.kafka_format import BOOTSTRAP_FILE, META_FILE, format_like, is_formatted, new_kafka_id

WRITTEN = b"levels of features"


@pytest.fixture
def tool() -> Callable[[Path], Callable[[], None]]:
    """Kafka's tool as far as it matters here: it writes both files."""

    def formatting(log_dir: Path) -> Callable[[], None]:
        def run() -> None:
            log_dir.mkdir(parents=True)
            (log_dir / BOOTSTRAP_FILE).write_bytes(WRITTEN)
            (log_dir / META_FILE).write_text("version=1\n")

        return run

    return formatting


def must_not_run() -> None:
    pytest.fail("the tool ran again")


def meta(log_dir: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (log_dir / META_FILE).read_text().splitlines())


def test_the_tool_runs_once_and_later_directories_get_its_file_with_ids_of_their_own(tmp_path: Path, tool):
    pattern, first = tmp_path / "pattern", tmp_path / "first"
    assert not is_formatted(first)
    format_like(pattern, first, node_id=1, cluster_id=new_kafka_id(), run_tool=tool(first))
    assert is_formatted(first)

    directory_ids = set()
    for name, node_id in (("second", 2), ("third", 3)):
        log_dir, cluster_id = tmp_path / name / "data", new_kafka_id()
        format_like(pattern, log_dir, node_id=node_id, cluster_id=cluster_id, run_tool=must_not_run)
        assert is_formatted(log_dir)
        assert (log_dir / BOOTSTRAP_FILE).read_bytes() == WRITTEN
        written = meta(log_dir)
        directory_ids.add(written.pop("directory.id"))
        assert written == {"version": "1", "cluster.id": cluster_id, "node.id": str(node_id)}

    assert len(directory_ids) == 2


def test_where_nothing_can_be_kept_the_tool_formats_every_directory(tmp_path: Path, tool):
    pattern = tmp_path / "no such directory" / "pattern"
    for name in ("first", "second"):
        log_dir = tmp_path / name
        format_like(pattern, log_dir, node_id=1, cluster_id=new_kafka_id(), run_tool=tool(log_dir))
        assert meta(log_dir) == {"version": "1"}
