"""What is sent to use the collector up: it costs the sender more than us, and honest clients don't notice."""

import asyncio
import time
import zlib
from pathlib import Path

import orjson

from tests.integration.collect.collector_process import CollectorProcess, running_collector
from tracker.kafka.admin import create_topics
from tracker.settings import Settings

TRACK = "/api/v1/events/track"
PLAIN = {"Content-Type": "text/plain"}
GIB = 1 << 30
BOMBS = 8
MOST_EXTRA_KIB = 32 * 1024
#: Larger than the bomb as it is sent, so that it is unpacked at all.
MAX_BODY_BYTES = 2 << 20
SLOW_CONNECTIONS = 1_000
#: Not that of the honest: an address may have so many connections and no more.
SLOW_ADDRESS = "127.0.0.9"
HONEST_REQUESTS = 400
PACE_SECONDS = 0.005
MOST_PAIRS = 6


def bomb() -> bytes:
    """Return a gigabyte of zeros as gzip, about a megabyte, without compressing a gigabyte.

    After a full flush a piece stands for itself, so one piece is repeated.
    """
    piece = bytes(16 << 20)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    repeats, checksum = GIB // len(piece), 0
    for _ in range(repeats):
        checksum = zlib.crc32(piece, checksum)
    head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    end = b"\x03\x00" + checksum.to_bytes(4, "little") + (GIB % (1 << 32)).to_bytes(4, "little")
    return head + packed * repeats + end


def peak_memory_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


async def p99_seconds(collector: CollectorProcess) -> float:
    """Post at a steady pace, never waiting for the answer before, and return what 99 of 100 answers take at most."""

    async def post(number: int) -> float:
        due = time.monotonic()
        body = orjson.dumps({"event_type": "click", "session_id": f"s{number}"})
        async with collector.http.post(TRACK, data=body, headers=PLAIN) as answer:
            assert answer.status == 202, await answer.text()
        return time.monotonic() - due

    tasks = []
    for number in range(HONEST_REQUESTS):
        tasks.append(asyncio.create_task(post(number)))
        await asyncio.sleep(PACE_SECONDS)  # the pace is what is measured at
    return sorted(await asyncio.gather(*tasks))[HONEST_REQUESTS * 99 // 100]


async def test_a_gzip_bomb_is_refused_and_costs_next_to_no_memory(collect_settings: Settings, tmp_path: Path):
    options = collect_settings.model_dump(include=collect_settings.model_fields_set)
    settings = Settings(**options, collect_max_body_bytes=MAX_BODY_BYTES)
    await create_topics(settings)
    sent = bomb()
    assert 500_000 < len(sent) < MAX_BODY_BYTES
    async with running_collector(settings, tmp_path / "collect.log") as collector:

        async def send() -> int:
            async with collector.http.post(TRACK, data=sent, headers={**PLAIN, "Content-Encoding": "gzip"}) as answer:
                assert (await answer.json())["error"]["code"] == "oversized"
                return answer.status

        before = peak_memory_kib(collector.process.pid)
        assert await asyncio.gather(*(send() for _ in range(BOMBS))) == [413] * BOMBS
        assert peak_memory_kib(collector.process.pid) - before < MOST_EXTRA_KIB


async def p99_seconds_beside_slow_clients(collector: CollectorProcess) -> float:
    """The same while connections from another address never finish their request, and are not closed for it."""
    port = collector.settings.collect_port
    slow = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", port, local_addr=(SLOW_ADDRESS, 0)) for _ in range(SLOW_CONNECTIONS))
    )
    for _, writer in slow:
        writer.write(b"POST /api/v1/events/track HTTP/1.1\r\nX-Slow: ")
    answers = [asyncio.create_task(reader.read(1)) for reader, _ in slow]
    async with collector.http.get("/healthz") as answer:
        assert answer.status == 200
    assert not any(answer.done() for answer in answers), "each of them is waited for"

    async def trickle() -> None:
        while True:
            for _, writer in slow:
                writer.write(b"x")
            await asyncio.sleep(1)

    trickling = asyncio.create_task(trickle())
    beside_them = await p99_seconds(collector)
    for task in (trickling, *answers):
        task.cancel()
    for _, writer in slow:
        writer.close()
    return beside_them


async def test_a_thousand_connections_that_never_finish_their_request_keep_nobody_waiting(collector):
    await p99_seconds(collector)  # what is only slow the first time is no matter here
    pairs: list[tuple[float, float]] = []
    # A p99 of a few milliseconds doubles by chance on a busy machine; what slow clients could cost is far more, and
    # would show in each of the pairs.
    while not any(beside_them < 2 * alone + 0.05 for alone, beside_them in pairs):
        assert len(pairs) < MOST_PAIRS, pairs
        pairs.append((await p99_seconds(collector), await p99_seconds_beside_slow_clients(collector)))
