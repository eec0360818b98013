"""A/B tests as mere counts, drawn at random day by day, and asked of ``ab_test_conversion`` at the end of each day.

A local Tinybird has the project's pipes but for one: ``ab_test_variants``, which gives the counts, reads these here.
"""

import json
import shutil
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird

_COUNTS = ("ab_test_id", "variant_id", "visitors", "converted_visitors", "conversions", "value")
_DATASOURCE = """SCHEMA >
    `workspace_id` String `json:$.workspace_id`,
    `ab_test_id` String `json:$.ab_test_id`,
    `variant_id` String `json:$.variant_id`,
    `visitors` UInt64 `json:$.visitors`,
    `converted_visitors` UInt64 `json:$.converted_visitors`,
    `conversions` UInt64 `json:$.conversions`,
    `value` Float64 `json:$.value`

ENGINE "ReplacingMergeTree"
ENGINE_SORTING_KEY "workspace_id, ab_test_id, variant_id"
"""
_PIPE = f"""NODE endpoint
SQL >
    %
    SELECT {", ".join(_COUNTS)} FROM drawn FINAL WHERE workspace_id = {{{{String(workspace_id)}}}}

TYPE endpoint
"""

ROWS_A_REQUEST = 50_000

#: Two variants' visitors and converted visitors up to each day's end: [test, day].
Counts = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Simulation:
    """Many tests of one kind. ``rates`` and ``shares``: of each variant by name."""

    rates: Mapping[str, float]
    visitors_a_day: int
    days: int = 30
    tests: int = 1_000
    shares: Mapping[str, float] | None = None

    def draw(self, seed: int) -> Counts:
        rng = np.random.default_rng(seed)
        shares = self.shares or dict.fromkeys(self.rates, 1 / len(self.rates))
        drawn = {}
        for variant, rate in self.rates.items():
            visitors = rng.poisson(self.visitors_a_day * shares[variant], (self.tests, self.days))
            converted = rng.binomial(visitors, rate)
            drawn[variant] = (visitors.cumsum(axis=1), converted.cumsum(axis=1))
        return drawn


class DrawnTests:
    """The local Tinybird with the drawn counts."""

    def __init__(self, tinybird: LocalTinybird) -> None:
        self._tinybird = tinybird

    def add(self, workspace: str, counts: Iterable[tuple[str, str, int, int]]) -> None:
        """Add (test, variant, visitors, converted visitors)."""
        lines = [
            json.dumps(dict(zip(_COUNTS, (*row, row[-1], 0), strict=True)) | {"workspace_id": workspace})
            for row in counts
        ]
        for first in range(0, len(lines), ROWS_A_REQUEST):
            part = lines[first : first + ROWS_A_REQUEST]
            answer = self._tinybird.append("drawn", "\n".join(part).encode())
            assert answer.json == {"successful_rows": len(part), "quarantined_rows": 0}, answer.body

    def ask(self, workspace: str, **parameters: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"workspace_id": workspace, "limit": "1000000", **parameters})
        answer = self._tinybird.request(f"/v0/pipes/ab_test_conversion.json?{query}")
        assert answer.status == 200, answer.body.decode()
        rows: list[dict[str, Any]] = answer.json["data"]
        return rows

    def look_daily(self, simulation: Simulation, seed: int, **parameters: str) -> dict[str, np.ndarray]:
        """Return each column of the pipe, [test, day, variant], variants by name."""
        workspace = f"seed {seed}"
        drawn = simulation.draw(seed)
        variants = sorted(drawn)
        self.add(
            workspace,
            (
                (f"{test:06} {day:06}", variant, int(drawn[variant][0][test, day]), int(drawn[variant][1][test, day]))
                for test in range(simulation.tests)
                for day in range(simulation.days)
                for variant in variants
            ),
        )
        rows = self.ask(workspace, **parameters)
        form = (simulation.tests, simulation.days, len(variants))
        assert len(rows) == np.prod(form)
        return {name: np.array([row[name] for row in rows]).reshape(form) for name in rows[0]}


@contextmanager
def drawn_tests(directory: Path) -> Iterator[DrawnTests]:
    project = directory / "project"
    shutil.copytree(PROJECT_DIR / "tinybird", project)
    (project / "datasources" / "drawn.datasource").write_text(_DATASOURCE)
    (project / "pipes" / "ab_test_variants.pipe").write_text(_PIPE)
    tinybird = LocalTinybird(directory, TRACKER_TINYBIRD_PROJECT_DIR=str(project))
    tinybird.start()
    try:
        yield DrawnTests(tinybird)
    finally:
        tinybird.stop()
