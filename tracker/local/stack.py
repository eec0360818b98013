"""Everything on one machine: which processes there are, in which order they start, and when each is ready.

A composition root: it knows the stages by their commands and addresses only.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Final
from urllib.parse import SplitResult, urlsplit

import aiohttp
from pydantic import SecretStr

from tracker.errors import ConfigurationError, RetryableError
from tracker.kafka import admin
from tracker.local.ports import local_port, require_free_port
from tracker.processes.supervisor import LineWriter, Supervisor
from tracker.settings import Settings

#: The stages, as in the Procfile.
STAGES: Final = ("collect", "process", "sink")
#: What the demo page tracks itself as.
DEMO_WORKSPACE: Final = "demo-workspace"
KAFKA: Final = "kafka"
TINYBIRD: Final = "tinybird"
#: The default of ``TRACKER_TINYBIRD_TOKEN``.
LOCAL_TOKEN: Final = "local"  # noqa: S105 - known to everybody

#: The first start of Kafka fetches its jars, over whatever line there is.
KAFKA_READY_SECONDS: Final = 240.0
TINYBIRD_READY_SECONDS: Final = 240.0
STAGE_READY_SECONDS: Final = 240.0
POLL_SECONDS: Final = 0.1
PROBE_TIMEOUT_SECONDS: Final = 3.0

Say = Callable[[str], None]


@asynccontextmanager
async def running_stack(settings: Settings, *, write_line: LineWriter, say: Say) -> AsyncIterator[Supervisor]:
    """Start the missing parts, yield once everything is ready, then stop the started parts.

    Raises:
        ModuleNotFoundError: the local Tinybird is not installed, and none answers.
        ConfigurationError: a port is taken, or an address that should answer does not.
        ChildExited: a process ended while it was being waited for.
        RetryableError: something did not become ready in time.
    """
    address = urlsplit(settings.tinybird_url)
    # Known before anything starts: else a Kafka would be started and stopped again to say it.
    if find_spec("chdb") is None and _is_local(address) and not await _listens(address.netloc):
        raise ModuleNotFoundError("the local Tinybird needs chdb", name="chdb")
    require_free_port(settings.collect_port, "TRACKER_COLLECT_PORT")
    require_free_port(settings.collect_metrics_port, "TRACKER_COLLECT_METRICS_PORT")
    require_free_port(settings.process_port, "TRACKER_PROCESS_PORT")
    require_free_port(settings.sink_port, "TRACKER_SINK_PORT")
    supervisor = Supervisor(environment(settings), write_line)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_SECONDS)) as http:
            await supervisor.guard(_start(settings, supervisor, http, say))
        yield supervisor
    finally:
        await supervisor.stop(last=(KAFKA, TINYBIRD))


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a child these very settings, options included."""
    return {
        f"TRACKER_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in settings
        if value is not None
    }


def addresses(settings: Settings) -> Mapping[str, str]:
    """Return the addresses that a person may want to open, by what they show."""
    collector = f"http://localhost:{settings.collect_port}"
    # A token that is not the local stack's well-known one is a secret.
    token = settings.tinybird_token.get_secret_value()
    shown = token if token == LOCAL_TOKEN else "$TRACKER_TINYBIRD_TOKEN"
    query = "SELECT+*+FROM+events_v1+FINAL+ORDER+BY+timestamp+FORMAT+PrettyCompact"
    return {
        "demo page": f"{collector}/demo",
        "live": f"{collector}/live",
        "reports": f"{collector}/reports?workspace_id={DEMO_WORKSPACE}",
        "one session": f"{collector}/api/v1/events/session/SESSION_ID",
        "SQL": f"curl -H 'Authorization: Bearer {shown}' '{settings.tinybird_url}/v0/sql?q={query}'",
    }


async def _start(settings: Settings, supervisor: Supervisor, http: aiohttp.ClientSession, say: Say) -> None:
    await asyncio.gather(_provide_kafka(settings, supervisor, say), _provide_tinybird(settings, supervisor, http, say))
    created = await admin.create_topics(settings)
    say(f"topics: {sum(verdict == 'created' for verdict in created.values())} created of {len(created)}")
    for stage in STAGES:
        await supervisor.start(stage, _command(stage))
    collector = f"http://127.0.0.1:{settings.collect_port}"
    processor = f"http://127.0.0.1:{settings.process_port}"
    sink = f"http://127.0.0.1:{settings.sink_port}"
    await asyncio.gather(
        wait_until("the sink", STAGE_READY_SECONDS, lambda: _answers(http, f"{sink}/readyz", 200)),
        wait_until("the collector", STAGE_READY_SECONDS, lambda: _answers(http, f"{collector}/readyz", 200)),
        wait_until("the processor", STAGE_READY_SECONDS, lambda: _answers(http, f"{processor}/readyz", 200)),
    )


async def _provide_kafka(settings: Settings, supervisor: Supervisor, say: Say) -> None:
    if await _listens(settings.kafka_bootstrap):
        async with admin.connect(settings, timeout_seconds=PROBE_TIMEOUT_SECONDS):
            say(f"kafka: using the broker that answers at {settings.kafka_bootstrap}")
        return
    # Raises for an address on another machine: only the operator can start that.
    local_port(settings.kafka_bootstrap, "no Kafka answers at TRACKER_KAFKA_BOOTSTRAP")
    say(f"kafka: starting one at {settings.kafka_bootstrap}")
    await supervisor.start(KAFKA, _command("local", KAFKA))
    await wait_until("Kafka", KAFKA_READY_SECONDS, lambda: _speaks_kafka(settings))


async def _provide_tinybird(settings: Settings, supervisor: Supervisor, http: aiohttp.ClientSession, say: Say) -> None:
    url = settings.tinybird_url
    address = urlsplit(url)
    if not _is_local(address):
        say(f"tinybird: using {url}")
        return
    if await _listens(address.netloc):
        if not await _answers(http, f"{url}/healthz", 200):
            raise ConfigurationError(f"something else than a local Tinybird answers at {url} (TRACKER_TINYBIRD_URL)")
        say(f"tinybird: using the local one that answers at {url}")
        return
    say(f"tinybird: starting a local one at {url}")
    await supervisor.start(TINYBIRD, _command("local", TINYBIRD))
    await wait_until("the local Tinybird", TINYBIRD_READY_SECONDS, lambda: _answers(http, f"{url}/healthz", 200))


async def wait_until(what: str, timeout_seconds: float, holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds.

    Raises:
        RetryableError: it did not within the time.
    """
    deadline = time.monotonic() + timeout_seconds
    while not await holds():
        if time.monotonic() > deadline:
            raise RetryableError(f"{what} is not ready after {timeout_seconds:.0f} s")
        await asyncio.sleep(POLL_SECONDS)


def _command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tracker", *arguments)


def _is_local(address: SplitResult) -> bool:
    return address.hostname in {"localhost", "127.0.0.1"}


async def _listens(bootstrap: str) -> bool:
    """Whether a TCP connection to the first of the addresses is accepted."""
    address = urlsplit("//" + bootstrap.partition(",")[0])
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _speaks_kafka(settings: Settings) -> bool:
    if not await _listens(settings.kafka_bootstrap):
        return False
    try:
        async with admin.connect(settings, timeout_seconds=PROBE_TIMEOUT_SECONDS):
            return True
    except RetryableError:
        return False


async def _answers(http: aiohttp.ClientSession, url: str, status: int) -> bool:
    try:
        async with http.get(url) as response:
            return response.status == status
    except (aiohttp.ClientError, TimeoutError):
        return False
