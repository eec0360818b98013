"""A collector as users run it: its own process, its own port, stopped with a signal."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.patience import PATIENCE_SECONDS
from tracker.local.ports import free_port
from tracker.settings import Settings

POLL_SECONDS = 0.05


class CollectorProcess:
    """A running collector and a client for it."""

    def __init__(self, process: asyncio.subprocess.Process, settings: Settings, log_file: Path) -> None:
        self.process = process
        self.settings = settings
        self.log_file = log_file
        self.url = f"http://127.0.0.1:{settings.collect_port}"
        self.http = aiohttp.ClientSession(self.url, cookie_jar=aiohttp.DummyCookieJar())

    async def until_status(self, path: str, status: int, *, saying: str = "") -> str:
        """Ask until a path or address answers with this status and these words, and return the text."""
        last = "no answer"
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    try:
                        async with self.http.get(path) as answer:
                            last = await answer.text()
                            if answer.status == status and saying in last:
                                return last
                    except aiohttp.ClientConnectionError as error:
                        last = repr(error)
                    assert self.process.returncode is None, self.log_file.read_text()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{path} never answered {status}; last: {last}") from None

    async def until_figures(self, saying: str = "") -> str:
        """Ask until the collector's figures have this in them, and return them."""
        return await self.until_status(
            f"http://127.0.0.1:{self.settings.collect_metrics_port}/metrics", 200, saying=saying
        )

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self) -> int:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.process.wait()


async def spawn(settings: Settings, log_file: Path) -> asyncio.subprocess.Process:
    """Start ``tracker collect`` with these settings; its output goes to the file."""
    names = settings.model_fields_set
    env = {f"TRACKER_{name.upper()}": str(getattr(settings, name)) for name in names}
    env.setdefault("TRACKER_COLLECT_METRICS_PORT", str(free_port()))
    with log_file.open("wb") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tracker", "collect", env={**os.environ, **env}, stdout=log, stderr=log
        )


@asynccontextmanager
async def running_collector(
    settings: Settings, log_file: Path, *, first: str | None = "/readyz"
) -> AsyncIterator[CollectorProcess]:
    """Run a collector; the block begins when it answers 200 at the path ``first``, at once without one."""
    if "collect_metrics_port" not in settings.model_fields_set:
        settings = settings.model_copy(update={"collect_metrics_port": free_port()})
    collector = CollectorProcess(await spawn(settings, log_file), settings, log_file)
    try:
        if first is not None:
            await collector.until_status(first, 200)
        yield collector
    finally:
        await collector.http.close()
        if collector.process.returncode is None:
            collector.terminate()
            await collector.exit_code()
