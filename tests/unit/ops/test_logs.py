"""With TRACKER_LOG_JSON each line is JSON with the same fields, whoever wrote it."""

import json
import logging

import pytest
import structlog

from tracker.observe.logs import configure_logging
from tracker.settings import Settings


def configure(monkeypatch: pytest.MonkeyPatch, *, log_json: bool) -> None:
    """Configure as in a process that has just started; pytest hangs handlers of its own at the root."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    configure_logging(Settings(log_json=log_json))


def test_our_lines_and_the_libraries_are_json_with_the_same_fields(
    capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    configure(monkeypatch, log_json=True)
    with structlog.contextvars.bound_contextvars(trace_id="abc"):
        structlog.get_logger().warning("ours", partition=3)
        logging.getLogger("aiokafka").warning("theirs %s", 1)
        logging.getLogger("faust").error("broken", exc_info=ValueError("x"))
    ours, theirs, broken = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["level"], ours["partition"], ours["trace_id"]) == ("ours", "warning", 3, "abc")
    assert (theirs["event"], theirs["level"], theirs["logger"], theirs["trace_id"]) == (
        "theirs 1",
        "warning",
        "aiokafka",
        "abc",
    )
    assert "ValueError: x" in broken["exception"]
    assert all(line["timestamp"].endswith("Z") for line in (ours, theirs, broken))


def test_for_a_person_lines_are_no_json(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    configure(monkeypatch, log_json=False)
    logging.getLogger("aiokafka").warning("theirs")
    assert "theirs" in (line := capsys.readouterr().err)
    assert not line.startswith("{")


def test_a_library_that_repeats_itself_is_heard_once_in_a_while(
    capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    configure(monkeypatch, log_json=False)
    for _ in range(3):
        logging.getLogger("aiokafka").error("Unable to connect to %s", "a")
        logging.getLogger("aiokafka").error("Unable to connect to %s", "b")
        structlog.get_logger().error("ours is said each time")
    lines = capsys.readouterr().err.splitlines()
    said = [sum(text in line for line in lines) for text in ("connect to a", "connect to b", "ours is said")]
    assert said == [1, 1, 3]
