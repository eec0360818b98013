"""Attackers of a collector, each a process: ``python -m tests.integration.collect.attackers NAME PORT SECONDS``.

They come from their own loopback addresses and know the public key of the page. They print a line when they have the
first answer, go on for so many seconds, and print how often they got which answer.
"""

import asyncio
import itertools
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

TRACK = "/api/v1/events/track"
KEY = "public-write-key-of-the-shop"
ORIGIN = "https://shop.example"
ADDRESS = "127.0.0.66"
WORKERS = 32
HOARDED_CONNECTIONS = 2_000
BODY_BYTES = 200 * 1024
ANSWER_SECONDS = 20
UNDER_WAY = "under way"


class Attack:
    """One attack: what it sends, and which answers it gets."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.end = math.inf
        self.answers: Counter[str] = Counter()
        self.numbers = itertools.count()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(ADDRESS, 0))

    async def flood(self, make: Callable[[int], bytes], *, keeps_connection: bool = True) -> None:
        """Send requests as fast as they are answered, over WORKERS connections."""
        await asyncio.gather(*(self._worker(make, keeps_connection=keeps_connection) for _ in range(WORKERS)))

    async def _worker(self, make: Callable[[int], bytes], *, keeps_connection: bool) -> None:
        while time.monotonic() < self.end:
            try:
                reader, writer = await self.connect()
            except OSError:
                self.answers["no connection"] += 1
                continue
            try:
                while time.monotonic() < self.end:
                    writer.write(make(next(self.numbers)))
                    self.answers[await status(reader)] += 1
                    if not keeps_connection:
                        break
            except (OSError, EOFError, TimeoutError):
                self.answers["closed"] += 1
            finally:
                writer.close()

    async def hoard(self, first_bytes: bytes) -> None:
        """Open connections that never finish their request, and open them again when they are closed."""
        writers: list[asyncio.StreamWriter] = []
        while time.monotonic() < self.end:
            writers = [writer for writer in writers if not writer.is_closing() and not writer.transport.is_closing()]
            for _ in range(min(200, HOARDED_CONNECTIONS - len(writers))):
                try:
                    _, writer = await self.connect()
                except OSError:
                    self.answers["no connection"] += 1
                    break
                writer.write(first_bytes)
                writers.append(writer)
                self.answers["opened"] += 1
            await asyncio.sleep(0.2)
        for writer in writers:
            writer.transport.abort()


async def status(reader: asyncio.StreamReader) -> str:
    async with asyncio.timeout(ANSWER_SECONDS):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
    return head.split(b" ", 2)[1].decode()


def post(body: bytes, key: str = KEY, **headers: str) -> bytes:
    lines = [f"POST {TRACK} HTTP/1.1", "Host: collect.example", f"X-Write-Key: {key}", f"Origin: {ORIGIN}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def batch(events: list[dict[str, object]]) -> bytes:
    return post(json.dumps({"batch": events}).encode())


def click(session: str) -> dict[str, object]:
    return {"event_type": "click", "session_id": session, "page_url": "https://shop.example/"}


def valid(number: int) -> bytes:
    return batch([click("the-attackers-session")] * 500)


ATTACKS: dict[str, Callable[[Attack], Awaitable[None]]] = {
    "junk that is no JSON": lambda attack: attack.flood(lambda _: post(b"{" * 1_000)),
    "batches of invalid events": lambda attack: attack.flood(lambda _: batch([{"event_type": "x"}] * 500)),
    "batches of valid events": lambda attack: attack.flood(valid),
    "batches of new sessions": lambda attack: attack.flood(
        lambda number: batch([click(f"new-{number}-{each}") for each in range(500)])
    ),
    "keys that nobody has": lambda attack: attack.flood(lambda number: post(b"{}", f"made-up-key-{number:012}")),
    "a connection for each request": lambda attack: attack.flood(valid, keeps_connection=False),
    "connections that say nothing": lambda attack: attack.hoard(b"POST /api/v1/events/track HTTP/1.1\r\nX-Slow: "),
    "bodies that never end": lambda attack: attack.hoard(post(b"x" * BODY_BYTES)[:-1]),
}


async def main(name: str, port: int, seconds: float) -> None:
    attack = Attack(port)
    attacking = asyncio.create_task(ATTACKS[name](attack))
    while not attack.answers and not attacking.done():  # noqa: ASYNC110 - many tasks count
        await asyncio.sleep(0.01)
    print(UNDER_WAY, flush=True)
    attack.end = time.monotonic() + seconds
    await attacking
    print(json.dumps(attack.answers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
