"""A local Tinybird that holds the project's fixtures, every row twice and nothing merged."""

import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fixtures.kafka import PROJECT_DIR
from tests.fixtures.tinybird import LocalTinybird

FIXTURES_DIR = PROJECT_DIR / "tinybird" / "fixtures"

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def tinybird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTinybird]:
    tinybird = LocalTinybird(tmp_path_factory.mktemp("pipes"))
    tinybird.start()
    for _ in range(2):
        for file in FIXTURES_DIR.glob("*.ndjson"):
            body = file.read_bytes()
            answer = tinybird.append(file.stem, body)
            assert answer.json == {"successful_rows": body.count(b"\n"), "quarantined_rows": 0}
    yield tinybird
    tinybird.stop()


def asking(tinybird: LocalTinybird, **common: str) -> Ask:
    """Return a function for the rows that a pipe answers with."""

    def rows(pipe: str, **parameters: str) -> list[dict[str, Any]]:
        answer = tinybird.request(f"/v0/pipes/{pipe}.json?" + urllib.parse.urlencode({**common, **parameters}))
        assert answer.status == 200, answer.body.decode()
        found: list[dict[str, Any]] = answer.json["data"]
        return found

    return rows


@pytest.fixture
def ask(tinybird: LocalTinybird) -> Ask:
    """The rows that a pipe answers with."""
    return asking(tinybird)
