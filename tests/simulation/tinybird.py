"""A double of Tinybird as the sink's client sees it: rows that are written in part, or written but not confirmed."""

import asyncio
from collections.abc import Sequence

from tests.simulation.environment import Environment
from tracker.tinybird.circuit import Circuit
from tracker.tinybird.delivery import Outcome

RETRY_SECONDS = 0.4


class Tinybird:
    """The datasources, and every row that ever reached them."""

    def __init__(self) -> None:
        self.rows: dict[str, list[bytes]] = {"events_v1": [], "session_v1": [], "usage_v1": []}
        #: Which records' values were sent, written or not. A record's value is one object from log to request.
        self.sent: dict[int, bytes] = {}


class Client:
    """One sink's client. Like the real one it returns only once all rows are written, and sends again until then."""

    def __init__(self, env: Environment, tinybird: Tinybird) -> None:
        self._env = env
        self._tinybird = tinybird
        self._circuits = {datasource: Circuit(datasource) for datasource in tinybird.rows}

    def circuit(self, datasource: str) -> Circuit:
        return self._circuits[datasource]

    async def send_rows(self, datasource: str, rows: Sequence[bytes]) -> Outcome:
        env = self._env
        table = self._tinybird.rows[datasource]
        self._tinybird.sent.update((id(row), row) for row in rows)
        await env.point("before Tinybird has the rows")
        while True:
            await asyncio.sleep(env.latency())
            written = len(rows)
            is_torn = bool(env.strike_probability) and env.rng.random() < 0.1
            if is_torn:
                written = env.rng.randint(0, len(rows))
                env.counters["sink batches torn"] += 1
            table.extend(rows[:written])
            await env.point("after Tinybird has the rows")
            if not is_torn:
                env.say(f"{datasource}: {len(rows)} rows written")
                return Outcome(written_rows=len(rows))
            await asyncio.sleep(RETRY_SECONDS)
