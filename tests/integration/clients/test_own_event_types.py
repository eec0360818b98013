"""The Python types of own events, as mypy sees them: what fits is taken, what does not is an error at its line."""

import sys
from pathlib import Path

from mypy import api

from tests.fixtures.kafka import PROJECT_DIR

PROGRAM = """\
from event_tracker_client import Client
from own_events import purchase_event

client = Client("https://collect.example.com")
client.track("s", **purchase_event({"order_id": "o-1", "total": 49.9, "items": [{"sku": "a"}]}))
client.track("s", **purchase_event({"order_id": "o-1", "total": 49.9, "coupon": "SPRING"}))
client.track("s", **purchase_event({"order_id": "o-1"}))  # wrong
client.track("s", **purchase_event({"order_id": 1, "total": 49.9}))  # wrong
client.track("s", **purchase_event({"order_id": "o-1", "total": 49.9, "colour": "red"}))  # wrong
client.track("s", **purchase_event({"order_id": "o-1", "total": 49.9, "items": [{"quantity": 1}]}))  # wrong
"""


def test_mypy_takes_what_fits_and_refuses_the_rest(tmp_path: Path, monkeypatch) -> None:
    paths = [PROJECT_DIR / "examples" / "own-events", PROJECT_DIR / "clients" / "python" / "src"]
    monkeypatch.setenv("MYPYPATH", ":".join(map(str, paths)))
    (program := tmp_path / "program.py").write_text(PROGRAM)
    options = [
        "--strict",
        "--config-file=",
        f"--cache-dir={tmp_path / 'cache'}",
        f"--python-executable={sys.executable}",
    ]
    found, problem, _ = api.run([*options, str(program)])
    assert problem == ""
    lines = sorted({int(line.split(":")[1]) for line in found.splitlines() if ": error: " in line})
    assert lines == [n for n, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# wrong")], found
