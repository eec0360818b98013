"""Starts Debian's Firefox so that Playwright can drive it: between them it answers what that Firefox does not know.

Playwright drives its own Firefox by a protocol of its own, and any other by WebDriver BiDi. It begins each page with
commands that releases of Firefox for long support have not learnt yet; they only matter to tests of media queries, and
count as carried out here.
"""

import asyncio
import contextlib
import json
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from tracker.local.ports import LOOPBACK, free_port

NAMES: Final = ("firefox-esr", "firefox")
_READY: Final = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
_PROJECT_DIR: Final = Path(__file__).parents[2]
_STARTER: Final = '#!/bin/sh\nPYTHONPATH={project} exec {python} -m tests.browser.firefox {firefox} "$@"\n'


def write_starter(directory: Path, configured: str | None) -> Path:
    """Write the executable that Playwright takes for Firefox.

    Raises:
        FileNotFoundError: there is no Firefox.
    """
    firefox = next(filter(None, map(shutil.which, [configured] if configured else NAMES)), None)
    if firefox is None:
        raise FileNotFoundError("no Firefox: make firefox, or set TRACKER_TEST_FIREFOX_PATH")
    starter = directory / "firefox"
    starter.write_text(_STARTER.format(project=_PROJECT_DIR, python=sys.executable, firefox=firefox))
    starter.chmod(0o755)
    return starter


async def main(firefox: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(firefox, *arguments, stderr=asyncio.subprocess.PIPE)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, process.terminate)
    assert process.stderr is not None
    url = ""
    while not url:
        line = (await process.stderr.readline()).decode()
        if not line:
            raise SystemExit("Firefox did not start")
        found = _READY.search(line)
        url = found[1] if found else ""
    app = web.Application()
    app.router.add_get("/{path:.*}", lambda request: _pass_on(request, url + request.path))
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, LOOPBACK, port).start()
    print(f"WebDriver BiDi listening on ws://{LOOPBACK}:{port}", file=sys.stderr, flush=True)
    reading = asyncio.ensure_future(process.stderr.read())
    await process.wait()
    await reading


async def _pass_on(request: web.Request, url: str) -> web.WebSocketResponse:
    playwright = web.WebSocketResponse(max_msg_size=0)
    await playwright.prepare(request)
    async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as firefox:
        answering = asyncio.ensure_future(_answer(firefox, playwright))
        async for message in playwright:
            await firefox.send_str(message.data)
        answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering
    return playwright


async def _answer(firefox: aiohttp.ClientWebSocketResponse, playwright: web.WebSocketResponse) -> None:
    async for message in firefox:
        answer: dict[str, Any] = json.loads(message.data)
        if answer.get("error") == "unknown command":
            await playwright.send_str(json.dumps({"type": "success", "id": answer["id"], "result": {}}))
        else:
            await playwright.send_str(message.data)
    await playwright.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
