"""Asks a stage on this machine how it is, as a probe of an orchestrator does."""

import json
import re
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from tracker.observe.internal_token import InternalToken, own_address
from tracker.settings import Settings

ANSWER_TIMEOUT_SECONDS: Final = 4.0
#: A load balancer needs a moment to learn that a collector stops.
NOTICE_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.5
#: The collector renews its figures once a second: so many answers in a row have to say that the spill is empty.
EMPTY_ANSWERS: Final = 4

_SPILL_RECORDS: Final = re.compile(r"^tracker_collect_spill_records ([0-9.e+]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Health:
    """What a stage's page said; status 0: nothing answered."""

    stage: str
    status: int
    state: dict[str, Any]

    @property
    def is_well(self) -> bool:
        """Whether the stage lives, or is ready, whichever was asked."""
        return self.status == HTTPStatus.OK

    @property
    def reasons(self) -> list[str]:
        """Why it is not well, and what else it says, for people."""
        if self.status == 0:
            return ["nothing answers"]
        error = self.state.get("error", {}).get("message")
        return [*self.state.get("problems", []), *([error] if error else []), *self.state.get("notes", [])]


def ask(settings: Settings, stage: str, page: str) -> Health:
    """Ask a stage's ``/healthz`` or ``/readyz`` on this machine."""
    status, body = _get(settings, getattr(settings, f"{stage}_host"), getattr(settings, f"{stage}_port"), page)
    try:
        state = json.loads(body)
    except ValueError:
        return Health(stage, 0, {})
    return Health(stage, status, state if isinstance(state, dict) else {})


def wait_for_empty_spill(settings: Settings, limit_seconds: float) -> int | None:
    """Wait until the collector has moved its spill to Kafka, and return how many records it still holds.

    None: it does not say. Its figures are those of all its processes, whether or not events can be accepted now.
    """
    deadline = time.monotonic() + limit_seconds
    time.sleep(min(NOTICE_SECONDS, limit_seconds))
    empty = 0
    while True:
        records = _spilled_records(settings)
        empty = empty + 1 if records == 0 else 0
        if empty == EMPTY_ANSWERS or time.monotonic() > deadline:
            return records
        time.sleep(POLL_SECONDS)


def _spilled_records(settings: Settings) -> int | None:
    status, body = _get(settings, settings.collect_metrics_host, settings.collect_metrics_port, "/metrics")
    found = _SPILL_RECORDS.search(body) if status == HTTPStatus.OK else None
    return int(float(found[1])) if found is not None else None


def _get(settings: Settings, host: str, port: int, page: str) -> tuple[int, str]:
    """Return the status and the text of a page, which is asked for as an operator does; status 0: nothing answered."""
    connection = HTTPConnection(own_address(host), port, timeout=ANSWER_TIMEOUT_SECONDS)
    try:
        connection.request("GET", page, headers=InternalToken.of(settings).headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, HTTPException):
        return 0, ""
    finally:
        connection.close()
