"""Load over HTTP: as much as a server takes (wrk), or a steady rate with each answer's time (asyncio)."""

import asyncio
import contextlib
import json
import shutil
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from benchmarks.measure import WorkerFailedError
from tracker.local.ports import LOOPBACK

CONNECTIONS: Final = 64
#: Between two looks at which requests are due; what this adds to an answer's time counts as the server's.
TURN_SECONDS: Final = 0.001
#: How long the last answers may take.
ANSWER_TIMEOUT_SECONDS: Final = 30.0
#: A slow client sends one byte in this time, and begins anew well before it would be given up.
SLOW_BYTE_SECONDS: Final = 1.0
SLOW_BYTES: Final = 8

_SCRIPT: Final = """
local bodies = {%s}
local requests, number = {}, 0
function init(args)
  for i, body in ipairs(bodies) do requests[i] = wrk.format("POST", %s, {%s}, body) end
end
function request()
  number = number %% #requests + 1
  return requests[number]
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %%d, "microseconds": %%d, "errors": %%d}\\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Posts:
    """What is posted, in turn: bodies that differ in their session and hold as many events each."""

    path: str
    headers: dict[str, str]
    bodies: Sequence[bytes]
    events: int

    def wire(self, number: int) -> bytes:
        """Return one request as bytes."""
        body = self.bodies[number % len(self.bodies)]
        headers = {"Host": LOOPBACK, **self.headers, "Content-Length": str(len(body))}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + body

    def script(self) -> str:
        """Return it as a script for wrk; JSON has no line breaks, so long brackets hold it as it is."""
        bodies = ",\n".join(f"[==[{body.decode()}]==]" for body in self.bodies)
        headers = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in self.headers.items())
        return _SCRIPT % (bodies, json.dumps(self.path), headers)


async def flood(port: int, posts: Posts, seconds: int, work_dir: Path) -> float:
    """Post as fast as the server answers, over ``CONNECTIONS``, and return the requests a second.

    Raises:
        WorkerFailedError: an answer was an error, or there is no wrk.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise WorkerFailedError("wrk is needed: apt-get install wrk")
    script = work_dir / "wrk.lua"
    script.write_text(posts.script())
    process = await asyncio.create_subprocess_exec(
        wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, f"http://{LOOPBACK}:{port}",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    if process.returncode != 0:
        raise WorkerFailedError(f"wrk ended with status {process.returncode}\n{output}")
    summary = json.loads(output.splitlines()[-1])
    if summary["errors"]:
        raise WorkerFailedError(f"{summary['errors']} requests got no answer or an error\n{output}")
    return float(summary["requests"] / summary["microseconds"] * 1_000_000)


async def steady(port: int, posts: Posts, per_second: float, seconds: float) -> list[float]:
    """Post at a steady rate, whatever the server does, and return the seconds that each answer took, in order of size.

    A request's time begins when it was due, also if every connection still waited for its answer then.

    Raises:
        WorkerFailedError: an answer was not 202, or did not come.
    """
    loop = asyncio.get_running_loop()
    client = _Client(posts)
    transports = [(await loop.create_connection(client.connection, LOOPBACK, port))[0] for _ in range(CONNECTIONS)]
    try:
        total = int(per_second * seconds)
        began, due = time.monotonic(), 0
        while due < total:
            while due < min(total, (time.monotonic() - began) * per_second):
                client.due(began + due / per_second)
                due += 1
            await asyncio.sleep(TURN_SECONDS)
        deadline = time.monotonic() + ANSWER_TIMEOUT_SECONDS
        while len(client.took) < total:
            client.check()
            if time.monotonic() > deadline:
                raise WorkerFailedError(f"{total - len(client.took)} of {total} requests got no answer")
            await asyncio.sleep(TURN_SECONDS)
        client.check()
    finally:
        for transport in transports:
            transport.abort()
    return sorted(client.took)


@contextlib.asynccontextmanager
async def slow_clients(port: int, count: int) -> AsyncIterator[None]:
    """Hold this many connections on which a request arrives a byte a second, and never ends.

    They take turns within the second: all at once they would hold up this process, whose own load is measured.
    """
    tasks = [asyncio.create_task(_be_slow(port, number / count * SLOW_BYTE_SECONDS)) for number in range(count)]
    try:
        await asyncio.sleep(2 * SLOW_BYTE_SECONDS)  # for all to be there
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, OSError):
            raise WorkerFailedError(f"a slow connection was refused: {outcome}")


async def _be_slow(port: int, begin_after_seconds: float) -> None:
    await asyncio.sleep(begin_after_seconds)
    while True:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
        try:
            writer.write(b"POST /api/v1/events/track HTTP/1.1\r\nX-Slow: ")
            for _ in range(SLOW_BYTES):
                await asyncio.sleep(SLOW_BYTE_SECONDS)
                writer.write(b"x")
        finally:
            writer.close()


class _Client:
    """Connections that are free, requests that are due, and how long answers took."""

    def __init__(self, posts: Posts) -> None:
        self._posts = posts
        self._free: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()
        self._sent = 0
        self._problem = ""
        self.took: list[float] = []

    def connection(self) -> "_Connection":
        return _Connection(self._freed, self._failed)

    def due(self, when: float) -> None:
        self._waiting.append(when)
        self._send()

    def check(self) -> None:
        if self._problem:
            raise WorkerFailedError(self._problem)

    def _send(self) -> None:
        while self._waiting and self._free:
            self._free.popleft().post(self._posts.wire(self._sent), self._waiting.popleft())
            self._sent += 1

    def _freed(self, connection: "_Connection", due: float | None) -> None:
        if due is not None:
            self.took.append(time.monotonic() - due)
        self._free.append(connection)
        self._send()

    def _failed(self, problem: str) -> None:
        self._problem = self._problem or problem


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, freed: "Callable[[_Connection, float | None], None]", failed: Callable[[str], None]) -> None:
        self._freed = freed
        self._failed = failed
        self._due: float | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._freed(self, None)

    def post(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, is_whole, body = self._received.partition(b"\r\n\r\n")
        if not is_whole or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]):
            return
        self._received = b""
        if not head.startswith(b"HTTP/1.1 202 "):
            self._failed(f"an answer was {head.partition(chr(13).encode())[0].decode()}: {body.decode()}")
        self._freed(self, self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._failed(f"a connection was lost: {exc}")
