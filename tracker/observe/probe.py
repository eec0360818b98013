"""Asks a stage on this machine how it is, as a probe of an orchestrator does."""

import json
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from tracker.settings import Settings

ANSWER_TIMEOUT_SECONDS: Final = 4.0
#: A load balancer needs a moment to learn that a collector stops.
NOTICE_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.5

_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Health:
    """What a stage's page said; status 0: nothing answered."""

    stage: str
    status: int
    state: dict[str, Any]

    @property
    def is_well(self) -> bool:
        """Whether the stage lives, or is ready, whichever was asked."""
        return self.status == 200  # noqa: PLR2004 - HTTP's own

    @property
    def reasons(self) -> list[str]:
        """Why it is not well, and what else it says, for people."""
        if self.status == 0:
            return ["nothing answers"]
        error = self.state.get("error", {}).get("message")
        return [*self.state.get("problems", []), *([error] if error else []), *self.state.get("notes", [])]


def ask(settings: Settings, stage: str, page: str) -> Health:
    """Ask a stage's ``/healthz`` or ``/readyz`` on this machine."""
    host, port = getattr(settings, f"{stage}_host"), getattr(settings, f"{stage}_port")
    connection = HTTPConnection(_ANYWHERE.get(host, host), port, timeout=ANSWER_TIMEOUT_SECONDS)
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        state = json.loads(answer.read())
    except (OSError, HTTPException, ValueError):
        return Health(stage, 0, {})
    finally:
        connection.close()
    return Health(stage, answer.status, state if isinstance(state, dict) else {})


def wait_for_empty_spill(settings: Settings, limit_seconds: float) -> int:
    """Wait until the collector has moved its spill to Kafka, and return how many records it still holds."""
    deadline = time.monotonic() + limit_seconds
    time.sleep(min(NOTICE_SECONDS, limit_seconds))
    while records := ask(settings, "collect", "/readyz").state.get("spill", {}).get("records", 0):
        if time.monotonic() > deadline:
            return int(records)
        time.sleep(POLL_SECONDS)
    return 0
