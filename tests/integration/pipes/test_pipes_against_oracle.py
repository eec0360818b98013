"""Every report against the oracle, over 200,000 events of 20,000 visitors, for several sets of parameters."""

from collections.abc import Iterator
from itertools import islice

import orjson
import pytest

from tests.fixtures.tinybird import LocalTinybird
from tests.integration.pipes.comparison import REPORTS
from tests.integration.pipes.conftest import Ask, asking
from tests.integration.pipes.history import OURS, SPRING, WORKSPACE, History, generate
from tests.integration.pipes.oracle import Oracle

SEED = 20
VISITORS = 20_000
ROWS_A_REQUEST = 10_000

MARCH = {"date_from": "2026-03-01 00:00:00", "date_to": "2026-03-08 12:30:00"}
#: Parameters that all reports share.
ASKED = {
    "everything": {},
    "a range without our own people": {**MARCH, **OURS},
    "a campaign with bots": {"campaign_id": SPRING, "include_bots": "1", "date_to": "2026-02-01 00:00:00"},
    "our own people too": {**OURS, "include_internal": "1", "date_from": "2026-02-10 06:00:00"},
}


@pytest.fixture(scope="module")
def history() -> History:
    history = generate(SEED, VISITORS)
    assert 190_000 < len(history.events) < 260_000
    return history


@pytest.fixture(scope="module")
def ask(history: History, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    tinybird = LocalTinybird(tmp_path_factory.mktemp("history"))
    tinybird.start()
    for datasource in ("session_v1", "events_v1"):
        written = history.written(datasource, SEED)
        while rows := list(islice(written, ROWS_A_REQUEST)):
            answer = tinybird.append(datasource, b"\n".join(map(orjson.dumps, rows)))
            assert answer.json == {"successful_rows": len(rows), "quarantined_rows": 0}
    yield asking(tinybird, workspace_id=WORKSPACE, limit="100000")
    tinybird.stop()


@pytest.fixture(scope="module", params=ASKED.values(), ids=list(ASKED))
def oracle(request: pytest.FixtureRequest, history: History) -> Oracle:
    return Oracle(history, request.param)


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_gives_the_figures_of_the_oracle(ask: Ask, oracle: Oracle, report: str):
    REPORTS[report](ask, oracle)
