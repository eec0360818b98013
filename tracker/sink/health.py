"""How the sink's datasources do, for its pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tracker.tinybird.circuit import State


@dataclass(frozen=True, slots=True)
class DatasourceHealth:
    """How one datasource does."""

    name: str
    circuit: State
    held_bytes: int


def problems_of(datasources: Sequence[DatasourceHealth]) -> list[str]:
    """Return the reasons why rows can't be written to Tinybird, for people; empty if they can."""
    return [f"Tinybird fails for {one.name} (TRACKER_TINYBIRD_URL)" for one in datasources if one.circuit == "open"]


def details_of(datasources: Sequence[DatasourceHealth]) -> Mapping[str, Any]:
    """Return the figures of each datasource for ``/readyz``."""
    return {"datasources": {one.name: {"circuit": one.circuit, "held_bytes": one.held_bytes} for one in datasources}}
