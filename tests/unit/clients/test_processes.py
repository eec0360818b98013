"""The Python client at the end of a process and after a fork, in real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.patience import PATIENCE_MS, PATIENCE_SECONDS
from tests.unit.clients.collectors import Collector, running_collector

SOURCE = PROJECT_DIR / "clients" / "python" / "src"

#: Each program is told the collector's address and prints the ids that it was given.
PREAMBLE = """
import os, signal, sys, threading, time
from event_tracker_client import Client, Limits
client = Client(sys.argv[1], limits=Limits(flush_interval_ms=3_600_000, max_retry_wait_ms=10), exit_timeout_ms=%d)
def tell(name):
    os.write(1, f"{client.track('s', 'click', event_id=name)}\\n".encode())  # whole, whatever other processes write
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


def start(collector: Collector, program: str, exit_timeout_ms: int = PATIENCE_MS) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE % exit_timeout_ms + program, collector.url],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(collector: Collector, program: str, exit_timeout_ms: int = PATIENCE_MS) -> tuple[int, list[str], str]:
    process = start(collector, program, exit_timeout_ms)
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, out.split(), err


def ids(collector: Collector) -> list[str]:
    return [event["event_id"] for event in collector.events]


def test_what_waits_is_sent_when_a_process_ends(collector: Collector):
    assert run(collector, "tell('a'); tell('b')") == (0, ["a", "b"], "")
    assert ids(collector) == ["a", "b"]


def test_what_waits_is_sent_when_a_process_ends_with_an_error(collector: Collector):
    code, told, _ = run(collector, "tell('a'); raise SystemExit(3)")
    assert (code, told, ids(collector)) == (3, ["a"], ["a"])


def test_what_is_told_in_the_last_moment_is_sent_or_said_to_be_lost(collector: Collector):
    # Registered before the client, so it is called after the client was closed.
    late = "import atexit\natexit.register(tell, 'late')\ntell('early')\n"
    code, told, err = run(collector, late)
    assert (code, told) == (0, ["early", "late"])
    assert set(told) - set(ids(collector)) <= {"late"}
    assert ("late" in ids(collector)) != ("closed" in err)


def test_a_process_does_not_wait_for_ever_and_says_what_is_lost(collector: Collector):
    collector.passing.clear()
    code, told, err = run(collector, "tell('a'); tell('b')", exit_timeout_ms=50)
    assert (code, told) == (0, ["a", "b"])
    assert "2 items were not delivered to the tracker before its client was closed" in err


def test_a_service_that_ends_by_sigterm_delivers_what_it_has(collector: Collector):
    program = """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
tell("a")
signal.pause()
"""
    process = start(collector, program)
    assert process.stdout is not None
    assert process.stdout.readline() == "a\n"
    process.send_signal(signal.SIGTERM)
    assert (process.wait(PATIENCE_SECONDS), ids(collector)) == (0, ["a"])
    process.communicate()


def test_forked_workers_send_their_own_and_nothing_of_their_parents(collector: Collector):
    program = """
tell("parent-before")
for number in range(3):
    if os.fork() == 0:
        tell(f"child-{number}")
        client.close()
        os._exit(0)
for _ in range(3):
    assert os.wait()[1] == 0
tell("parent-after")
"""
    code, told, err = run(collector, program)
    assert (code, err) == (0, "")
    assert sorted(ids(collector)) == sorted(told)
    assert sorted(told) == ["child-0", "child-1", "child-2", "parent-after", "parent-before"]


def test_a_fork_amid_a_request_harms_neither_side(collector: Collector):
    program = """
tell("parent-before")
threading.Thread(target=client.flush, daemon=True).start()
sys.stdin.readline()
pid = os.fork()
if pid == 0:
    tell("child")
    os._exit(client.close())
assert os.waitpid(pid, 0)[1] == 0
tell("parent-after")
"""
    collector.passing.clear()
    process = start(collector, program)
    assert process.stdin is not None
    collector.until(1)  # the parent's request is under way
    process.stdin.write("fork\n")
    process.stdin.flush()
    collector.until(2)  # the child's has come although the parent's has no answer
    collector.passing.set()
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (0, "")
    assert sorted(ids(collector)) == sorted(out.split()) == ["child", "parent-after", "parent-before"]


def test_a_first_request_imports_nothing_so_that_a_fork_meanwhile_finds_no_lock(collector: Collector):
    program = """
before = set(sys.modules)
client.init_session("s")
tell("a")
client.flush()
print(sorted(set(sys.modules) - before))
"""
    assert run(collector, program) == (0, ["a", "[]"], "")


def test_workers_of_a_preloading_server_end_by_sigterm(collector: Collector):
    """As gunicorn does with --preload: the application is loaded, then workers are forked, then told to end."""
    program = """
workers = []
for number in range(2):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        tell(f"worker-{number}")
        signal.pause()
    workers.append(pid)
sys.stdin.readline()
for pid in workers:
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == 0
"""
    process = start(collector, program)
    assert process.stdout is not None
    told = sorted(process.stdout.readline() for _ in range(2))
    process.communicate("\n", timeout=PATIENCE_SECONDS)
    assert (process.returncode, told) == (0, ["worker-0\n", "worker-1\n"])
    assert sorted(ids(collector)) == ["worker-0", "worker-1"]
