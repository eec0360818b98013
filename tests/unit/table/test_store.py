"""The local store holds what the changelog holds, or it is rebuilt."""

import resource
from collections.abc import Callable, Iterator

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.simulation.disk import Disk, MemoryDatabase
from tracker.errors import DiskFullError, StateDamagedError
from tracker.sessions.layouts import USAGE_KEY, WATERMARK_KEY, encode_state, encode_usage, encode_watermark
from tracker.sessions.state import SessionState, UsageMark, Watermark
from tracker.table import store as store_module
from tracker.table.store import MAX_AWAY_MS, Position, SessionStore


def state(sequence: int) -> SessionState:
    return SessionState(session_id="s", ordinal=0, created_ms=1, last_activity_ms=2, timeout_ms=3, sequence=sequence)


def rows(offset: int):
    return [
        (b"s", offset, encode_state(offset, state(offset))),
        (WATERMARK_KEY, offset, encode_watermark(offset, Watermark(stream_time_ms=offset * 10))),
    ]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "partition-0"


def test_a_batch_and_its_position_are_there_again_after_a_restart(path):
    store = SessionStore(path)
    store.write(rows(5), position=7)
    store.close()
    again = SessionStore(path)
    assert (again.position, again.watermark()) == (7, (5, Watermark(stream_time_ms=50)))
    assert dict(again.states()) == {b"s": encode_state(5, state(5))}
    again.close()


def test_a_stale_row_does_not_win_but_the_position_moves(path):
    store = SessionStore(path)
    store.write(rows(5), position=2)
    assert store.merge(rows(4), position=4) == []
    assert (store.position, store.watermark()[0]) == (4, 5)
    store.close()


def test_a_tombstone_removes_what_is_older(path):
    store = SessionStore(path)
    store.write(rows(5), position=2)
    store.merge([(b"s", 4, None)], position=3)
    assert store.get(b"s") is not None
    store.merge([(b"s", 6, None)], position=4)
    assert store.get(b"s") is None
    store.close()


def test_state_of_another_layout_is_rebuilt_not_trusted(path, monkeypatch):
    store = SessionStore(path)
    store.write(rows(5), position=7)
    store.close()
    monkeypatch.setattr(store_module, "READABLE", {Position(0).layout + 1})
    again = SessionStore(path)
    assert (again.position, again.watermark()[0], dict(again.states())) == (0, -1, {})
    again.close()


def test_damaged_files_are_rebuilt_not_trusted(path):
    store = SessionStore(path)
    store.write(rows(5), position=7)
    store.close()
    for file in path.glob("MANIFEST-*"):
        file.write_bytes(b"damaged")
    again = SessionStore(path)
    assert (again.position, again.watermark()[0]) == (0, -1)
    again.close()


def test_state_of_another_cluster_is_rebuilt_not_trusted(path):
    store = SessionStore(path, cluster_id="one")
    store.write(rows(5), position=7)
    store.close()
    same = SessionStore(path, cluster_id="one")
    assert same.position == 7
    same.close()
    other = SessionStore(path, cluster_id="two")
    assert (other.position, other.watermark()[0], dict(other.states())) == (0, -1, {})
    other.close()


@pytest.mark.parametrize(
    ("was", "now", "position"), [("one", "one", 7), ("one", "two", 0), ("", "two", 7), ("one", "", 7), ("", "", 7)]
)
def test_state_of_a_changelog_that_was_deleted_is_rebuilt_and_where_that_is_not_known_it_is_trusted(
    path, was, now, position
):
    store = SessionStore(path, topic_id=was)
    store.write(rows(5), position=7)
    store.close()
    again = SessionStore(path, topic_id=now)
    assert (again.position, len(dict(again.states()))) == (position, 1 if position else 0)
    again.close()


def test_a_store_that_is_not_told_its_cluster_and_topic_is_of_none(path):
    store = SessionStore(path)
    store.write(rows(5), position=7)
    store.close()
    again = SessionStore(path, cluster_id="", topic_id="any")
    assert again.position == 7
    again.close()


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("position", "why"),
    [
        (Position(7, layout=99), "has another layout (99)"),
        (Position(7, cluster_id="one"), "is of another cluster (one, not two)"),
        (Position(7, cluster_id="two", topic_id="old"), "is of a changelog that was deleted"),
        (Position(7, cluster_id="two"), "was away for 50 hours, which is too long"),
        (None, "is damaged (block checksum mismatch)"),
    ],
)
def test_it_is_said_why_state_is_rebuilt_and_of_which_partition(path, position: Position | None, why: str):
    class Found(MemoryDatabase):
        def get(self, key: bytes) -> bytes | None:
            if position is None:
                raise StateDamagedError("block checksum mismatch")
            return msgspec.msgpack.encode(position)

    with capture_logs() as logs:
        store = SessionStore(
            path,
            lambda path: Found(path, Disk()),
            cluster_id="two",
            topic_id="new",
            now_ms=lambda: 51 * HOUR_MS - 1,
        )
    assert store.position == 0
    (line,) = logs
    assert (line["why"], line["path"]) == (f"it {why}", "partition-0")


def test_what_is_removed_has_to_be_told_to_the_changelog_after_a_restart_too(path):
    store = SessionStore(path)
    store.write([(b"page", 5, b"-------5")], position=7)
    store.remove([b"page"])
    store.close()
    again = SessionStore(path)
    assert (again.get(b"page"), again.overwritten, again.position) == (None, {b"page"}, 7)
    again.close()


def test_a_store_without_usage_has_counted_nothing_and_one_with_usage_knows_up_to_where(path):
    store = SessionStore(path)
    assert store.usage() == (-1, UsageMark())
    mark = UsageMark(minute_ms=60_000)
    store.write([(USAGE_KEY, 5, encode_usage(5, mark))], position=7)
    assert store.usage() == (5, mark)
    store.close()


@pytest.mark.parametrize(("away_ms", "position"), [(MAX_AWAY_MS, 7), (MAX_AWAY_MS + 1, 0)])
def test_state_that_was_away_longer_than_kafka_remembers_removals_is_rebuilt(path, away_ms, position):
    store = SessionStore(path, now_ms=lambda: 1_000)
    store.write(rows(5), position=7)
    store.close()
    again = SessionStore(path, now_ms=lambda: 1_000 + away_ms)
    assert again.position == position
    again.close()


def test_files_cut_short_are_rebuilt_not_trusted(path):
    store = SessionStore(path)
    store.write(rows(5), position=7)
    store._db._db.flush()
    store.close()
    (table,) = path.glob("*.sst")
    table.write_bytes(table.read_bytes()[:-200])
    again = SessionStore(path)
    assert (again.position, again.watermark()[0]) == (0, -1)
    again.close()


def test_damage_that_shows_when_it_is_read_is_said_and_the_next_opening_begins_anew(path):
    store = SessionStore(path)
    store.write([(b"%06d" % n, n, encode_state(n, state(n))) for n in range(5_000)], position=7)
    store._db._db.flush()
    store.close()
    (table,) = path.glob("*.sst")
    content = bytearray(table.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 500] = bytes(500)
    table.write_bytes(content)
    damaged = SessionStore(path)
    assert damaged.position == 7
    with pytest.raises(StateDamagedError):
        list(damaged.states())
    damaged.close()
    again = SessionStore(path)
    assert (again.position, list(again.states())) == (0, [])
    again.close()


def test_what_a_stale_write_stands_over_is_known_until_it_is_written_again(path):
    store = SessionStore(path)
    store.merge([*rows(5), *rows(4)], position=4)
    assert store.overwritten == {b"s", WATERMARK_KEY}
    store.merge(rows(3), position=6)
    assert store.overwritten == {b"s", WATERMARK_KEY}
    store.merge(rows(5), position=8)
    assert store.overwritten == set()
    store.close()


@pytest.fixture
def disk_limit() -> Iterator[Callable[[int | None], None]]:
    """Sets how large a file may become, as a full disk would; None takes the limit away."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size_bytes: resource.setrlimit(
        resource.RLIMIT_FSIZE, (soft if size_bytes is None else size_bytes, hard)
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_store_on_a_full_disk_takes_nothing_and_goes_on_once_there_is_space(path, disk_limit):
    store = SessionStore(path)
    store.write([(b"before", 1, b"-------1")], 1)
    large = [(b"large", 2, bytes(200_000))]
    disk_limit(50_000)
    with pytest.raises(DiskFullError):
        store.write(large, 2)
    with pytest.raises(DiskFullError):
        store.write(large, 2)
    disk_limit(None)
    store.reopen()
    assert (store.position, store.get(b"large")) == (1, None)
    store.write(large, 2)
    assert (store.position, store.get(b"before")) == (2, b"-------1")
    store.close()


def test_a_store_that_could_not_be_opened_again_still_waits_for_space(path, disk_limit):
    store = SessionStore(path)
    store.write([(b"before", 1, bytes(20_000))], 1)
    disk_limit(1_000)
    with pytest.raises(DiskFullError):
        store.write([(b"large", 2, bytes(200_000))], 2)
    with pytest.raises(DiskFullError):
        store.reopen()
    with pytest.raises(DiskFullError):
        store.write([(b"large", 2, b"-------2")], 2)
    disk_limit(None)
    store.reopen()
    assert store.position == 1
    store.close()


def test_two_processes_can_not_share_a_store(path):
    store = SessionStore(path)
    with pytest.raises(Exception, match=r"(?i)lock"):
        SessionStore(path)
    store.close()


def test_a_position_is_small(path):
    assert len(msgspec.msgpack.encode(Position(1))) < 12


def test_what_a_stale_write_stands_over_is_known_again_after_a_restart(path):
    store = SessionStore(path)
    store.merge(rows(5), position=7)
    store.merge([(b"s", 3, encode_state(3, state(3)))], position=8)
    assert store.overwritten == {b"s"}
    store.close()
    again = SessionStore(path)
    assert again.overwritten == {b"s"}
    again.merge(rows(6), position=10)
    again.close()
    assert SessionStore(path).overwritten == set()
