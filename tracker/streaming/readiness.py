"""Whether a worker can do its work now, and if not, why: one reason a line, for an operator and for probes.

A worker that waits for Kafka, for topics or for room on its disk is alive: starting it again would help nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest

from tracker.observe.pages import Page, metrics_page
from tracker.streaming.lease import LeaseBook


class Readiness:
    """The reasons why one worker is not ready."""

    def __init__(self) -> None:
        #: The worker's leases, once it may get any.
        self.leases: LeaseBook | None = None
        self.missing_topics: Sequence[str] = ()
        #: Returns further notes for operators about a worker that works.
        self.more_notes: Callable[[], Sequence[str]] = tuple

    @property
    def problems(self) -> list[str]:
        """Reasons why the worker can't do its work, empty if it can."""
        if self.missing_topics:
            missing = ", ".join(self.missing_topics)
            return [f"topics are missing: {missing}; run tracker topics create, or see tracker topics acls"]
        if self.leases is None:
            return ["Kafka has not answered yet (TRACKER_KAFKA_BOOTSTRAP)"]
        expected, live = self.leases.expected, self.leases.live()
        if expected is None:
            return ["the consumer group has not given partitions, or has evicted this worker; it joins again"]
        full = [f"the disk is full; partition {lease.partition} waits" for lease in live if lease.waits_for_room]
        if len(live) < expected:
            return [f"{expected - len(live)} of {expected} partitions are being recovered", *full]
        return full

    @property
    def notes(self) -> list[str]:
        """Facts that explain a worker that is ready and does nothing."""
        if self.leases is not None and self.leases.expected == 0:
            return ["no partitions: there are more workers than partitions (TRACKER_PARTITIONS), this one stands by"]
        return list(self.more_notes())

    @property
    def partitions(self) -> int:
        """Partitions that this worker works on."""
        return 0 if self.leases is None else len(self.leases.live())


def pages_of(
    readiness: Readiness,
    more_problems: Callable[[], list[str]] = list,
    details: Callable[[], Mapping[str, Any]] = dict,
) -> Mapping[str, Page]:
    """Return a worker's pages by their path: ``/healthz``, ``/readyz`` and ``/metrics``."""

    def healthz() -> web.Response:
        return web.json_response({"status": "ok", "partitions": readiness.partitions})

    def readyz() -> web.Response:
        problems = readiness.problems + more_problems()
        state = {
            "status": "unavailable" if problems else "ready",
            "problems": problems,
            "notes": readiness.notes,
            "partitions": readiness.partitions,
            **details(),
        }
        return web.json_response(state, status=503 if problems else 200)

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics_page(generate_latest)}
