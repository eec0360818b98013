"""The sink's pages for those who run it: ``/healthz``, ``/readyz`` and ``/metrics``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from prometheus_client import generate_latest

from tracker.observe.pages import Page, metrics_page
from tracker.tinybird.circuit import State


@dataclass(frozen=True, slots=True)
class DatasourceHealth:
    """How one datasource does."""

    name: str
    circuit: State
    held_bytes: int


@dataclass(frozen=True, slots=True)
class Health:
    """How the sink does."""

    has_joined: bool
    partitions: int
    datasources: Sequence[DatasourceHealth]

    @property
    def problems(self) -> list[str]:
        """What keeps rows from being written, for people; empty if nothing does."""
        joining = [] if self.has_joined else ["the consumer group has not given partitions yet"]
        return joining + [f"Tinybird fails for {one.name}" for one in self.datasources if one.circuit == "open"]


def pages_of(health: Callable[[], Health]) -> Mapping[str, Page]:
    """Return the sink's pages by their path."""

    def healthz() -> web.Response:
        return web.json_response({"status": "ok", "partitions": health().partitions})

    def readyz() -> web.Response:
        found = health()
        return web.json_response(_ready(found), status=503 if found.problems else 200)

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics_page(generate_latest)}


def _ready(health: Health) -> dict[str, Any]:
    return {
        "status": "unavailable" if health.problems else "ready",
        "problems": health.problems,
        "partitions": health.partitions,
        "datasources": {one.name: {"circuit": one.circuit, "held_bytes": one.held_bytes} for one in health.datasources},
    }
