"""Whatever schemathesis makes of the document, the collector answers as it says: no 5xx, no other status or shape."""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from tests.integration.collect.collector_process import CollectorProcess, running_collector
from tracker.kafka.admin import create_topics
from tracker.process.session_view import session_view
from tracker.sessions.rules import Rules
from tracker.sessions.state import SessionState
from tracker.settings import Settings

WRITE_KEY, READ_KEY = "write-key-of-w1-0123", "read-key-of-w1-01234"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)
#: The same examples every time, so that a change is judged by what it changes; others and more of them by
#: TRACKER_TEST_CONTRACT_SEED and TRACKER_TEST_CONTRACT_EXAMPLES=1000.
EXAMPLES = os.environ.get("TRACKER_TEST_CONTRACT_EXAMPLES", "8")
SEED = os.environ.get("TRACKER_TEST_CONTRACT_SEED", "1")
METHODS = {"get", "post", "delete"}
#: Answers to a broken network or clock, to too much of something, or to a fault of ours: other tests make those.
NEED_A_FAULT = {"408", "413", "429", "431", "500", "503", "505"}
TIMEOUT_SECONDS = 30 + 4 * int(EXAMPLES) * 20


@pytest.fixture
async def documented(collect_settings: Settings, tmp_path: Path) -> AsyncIterator[CollectorProcess]:
    path = tmp_path / "keys.json"
    keys = {
        "write_keys": [{"name": "write", "key": WRITE_KEY, "workspace_id": "w1"}],
        "read_keys": [{"name": "read", "key": READ_KEY, "workspace_id": "w1"}],
    }
    path.write_bytes(orjson.dumps(keys))
    given = collect_settings.model_dump(include=collect_settings.model_fields_set)
    settings = Settings(**{**given, "keys_file": path})
    await create_topics(settings)
    async with running_collector(settings, tmp_path / "collect.log") as running:
        yield running


@pytest.fixture
async def processor(documented: CollectorProcess) -> AsyncIterator[None]:
    """Stands where the processor would: it knows every session, half of them of another workspace."""

    async def session(request: web.Request) -> web.Response:
        key = request.match_info["id"]
        state = SessionState(session_id=key, ordinal=1, created_ms=1, last_activity_ms=1, timeout_ms=60_000)
        state.context["workspace_id"] = "w1" if len(key) % 2 else "w2"
        return web.json_response(session_view(key, state, rules=Rules(), now_ms=2, source_offset=7, place={}))

    app = web.Application()
    app.router.add_get("/session/{id}", session)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", URL(documented.settings.process_url).port).start()
    yield
    await runner.cleanup()


async def schemathesis(collector: CollectorProcess, cwd: Path, *arguments: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{collector.url}/openapi.json", "--no-color",
        "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", SEED, "--checks", CHECKS,
        "--generation-database", "none", "--continue-on-failure", "--warnings", "off", *arguments,
        cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(TIMEOUT_SECONDS):
        output, _ = await process.communicate()
    return process.returncode, output.decode()


def told_by(document: dict[str, Any]) -> dict[str, set[str]]:
    """The statuses that the document has for each address of the API."""
    return {
        path: {status for method in METHODS & item.keys() for status in item[method]["responses"]}
        for path, item in document["paths"].items()
        if path.startswith("/api/")
    }


def answered(exposition: str) -> dict[str, set[str]]:
    """The statuses that each address has answered with, by the collector's own figures."""
    seen: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == "tracker_collect_requests_total" and sample.value:
                seen[sample.labels["endpoint"]].add(sample.labels["status"])
    return seen


@pytest.mark.usefixtures("processor")
async def test_every_answer_is_one_that_the_document_knows(documented: CollectorProcess, tmp_path: Path):
    print(f"seed: TRACKER_TEST_CONTRACT_SEED={SEED}")
    runs = (
        ("--exclude-operation-id", "getSession", "-H", f"X-Write-Key: {WRITE_KEY}"),
        ("--include-operation-id", "getSession", "-H", f"Authorization: Bearer {READ_KEY}"),
        # Without a key, what needs one is refused, as is the wrong kind of key; and the refusals are documented.
        ("--include-path-regex", "^/api/", "--max-examples", "1"),
        ("--include-path-regex", "^/api/", "--max-examples", "1", "-H", f"X-Write-Key: {READ_KEY}"),
        ("--include-operation-id", "getSession", "--max-examples", "1", "-H", f"X-Write-Key: {WRITE_KEY}"),
    )
    for arguments in runs:
        code, output = await schemathesis(documented, tmp_path, *arguments)
        assert code == 0, output
        print(output)
    document = orjson.loads(await documented.until_status("/openapi.json", 200))
    seen = answered(await documented.until_figures())
    unseen = {path: told - NEED_A_FAULT - seen[path] for path, told in told_by(document).items()}
    assert {path: statuses for path, statuses in unseen.items() if statuses} == {}
