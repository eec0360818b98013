"""What the collector is measured against: ``python -m benchmarks.http_servers echo|naive PORT [BOOTSTRAP TOPIC]``.

Both run on uvloop, as the collector does. ``echo`` is bare aiohttp that sends a body back. ``naive`` takes an event as
one would write it first: parse, send, wait for Kafka; no check, no key, no limit.
"""

import asyncio
import signal
import sys

import orjson
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

from tracker.kafka.clients import new_producer
from tracker.local.ports import LOOPBACK
from tracker.settings import Settings


async def _echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read(), content_type="application/json")


class _Naive:
    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def track(self, request: web.Request) -> web.Response:
        body = await request.read()
        session_id = orjson.loads(body)["session_id"]
        await self._producer.send_and_wait(self._topic, body, key=session_id.encode())
        return web.Response(body=orjson.dumps({"session_id": session_id}), status=202, content_type="application/json")


async def _main(kind: str, port: int, *kafka: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = web.Application()
    producer = None
    if kind == "naive":
        bootstrap, topic = kafka
        producer = new_producer(Settings(kafka_bootstrap=bootstrap), "bench-naive")
        await producer.start()
        app.router.add_post("/{path:.*}", _Naive(producer, topic).track)
    else:
        app.router.add_post("/{path:.*}", _echo)
    app.router.add_get("/readyz", _ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    await stop.wait()
    await runner.cleanup()
    if producer is not None:
        await producer.stop()


async def _ready(_: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
