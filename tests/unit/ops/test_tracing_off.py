"""Tracing is off unless asked for, and then nothing of it is loaded."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from tests.fixtures.kafka import PROJECT_DIR
from tracker.errors import ConfigurationError
from tracker.observe.tracing import tracing_of
from tracker.settings import Settings


async def test_without_an_endpoint_there_is_no_tracing() -> None:
    async with tracing_of(Settings(tracing_endpoint=""), "collect") as tracing:
        assert tracing is None


def test_no_stage_imports_opentelemetry_by_itself() -> None:
    imports = "import sys, tracker.collect.run.process, tracker.process.main, tracker.sink.main"
    say = "print(*(name for name in sys.modules if name.startswith('opentelemetry')))"
    ran = subprocess.run([sys.executable, "-c", f"{imports}; {say}"], cwd=PROJECT_DIR, check=True, capture_output=True)
    assert ran.stdout.split() == []


async def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tracker.observe.spans", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'event-tracker\[tracing\]'"):
        async with tracing_of(Settings(tracing_endpoint="http://localhost:4318"), "collect"):
            pass


def test_an_endpoint_is_an_http_address() -> None:
    with pytest.raises(ValidationError):
        Settings(tracing_endpoint="localhost:4318")
