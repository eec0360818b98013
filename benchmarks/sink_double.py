"""A Tinybird that enforces its limits and keeps nothing, for measuring: ``python -m benchmarks.sink_double PORT``.

100 requests and 20 MB of NDJSON a second and datasource, with the real one's headers; what is over gets a 429.
``POST /away`` and ``/back`` make an outage; ``/counts`` says what has come so far.
"""

import sys
import time
from typing import Final

from aiohttp import web

from tracker.local.ports import LOOPBACK
from tracker.local.tinybird.rate_limit import TokenBucket

REQUESTS_PER_SECOND: Final = 100
BYTES_PER_SECOND: Final = 20_000_000
REQUEST_MAX_BYTES: Final = 10_000_000


class Double:
    """Counts rows, and holds each datasource to its limits."""

    def __init__(self) -> None:
        self._requests: dict[str, TokenBucket] = {}
        self._bytes: dict[str, tuple[float, float]] = {}
        self._is_away = False
        self.counts = {"rows": 0, "bytes": 0, "requests": 0, "throttled": 0, "away": 0}

    async def events(self, request: web.Request) -> web.Response:
        """Take a request, or answer as Tinybird does."""
        plain = await request.read()  # aiohttp has unpacked it
        if self._is_away:
            self.counts["away"] += 1
            return web.Response(status=503)
        name, now = request.query["name"], time.monotonic()
        if len(plain) > REQUEST_MAX_BYTES:
            return web.Response(status=413)
        verdict = self._requests.setdefault(name, TokenBucket.full(REQUESTS_PER_SECOND, now)).take(now)
        if not verdict.allowed or not self._take_bytes(name, len(plain), now):
            self.counts["throttled"] += 1
            return web.Response(status=429, headers={**verdict.headers, "Retry-After": "1"})
        rows = plain.count(b"\n") + 1
        self.counts["rows"] += rows
        self.counts["bytes"] += len(plain)
        self.counts["requests"] += 1
        return web.json_response({"successful_rows": rows, "quarantined_rows": 0}, headers=verdict.headers)

    def _take_bytes(self, name: str, size: int, now: float) -> bool:
        left, at = self._bytes.get(name, (float(BYTES_PER_SECOND), now))
        left = min(BYTES_PER_SECOND, left + (now - at) * BYTES_PER_SECOND)
        is_enough = left >= size
        self._bytes[name] = (left - size if is_enough else left, now)
        return is_enough

    async def tell(self, _: web.Request) -> web.Response:
        """Say what has come so far."""
        return web.json_response(self.counts)

    async def away(self, request: web.Request) -> web.Response:
        """Begin or end an outage."""
        self._is_away = request.path == "/away"
        return web.Response()


def main() -> None:
    """Serve until told to stop."""
    double = Double()
    app = web.Application(client_max_size=2 * REQUEST_MAX_BYTES)
    app.router.add_post("/v0/events", double.events)
    app.router.add_get("/counts", double.tell)
    app.router.add_post("/away", double.away)
    app.router.add_post("/back", double.away)
    web.run_app(app, host=LOOPBACK, port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
