"""The local Tinybird's Events API, over HTTP against ClickHouse: each answer and each fault."""

import gzip
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.tinybird import LocalTinybird
from topics.session import CONTEXT_FIELDS, SESSION_ONLY_FIELDS
from topics.visitor import VISITOR_DEFAULTS

MAX_BODY_BYTES = 10_000
MAX_TRIES = 10_000
EVENT = {
    "timestamp": "2026-11-24T10:00:00.123Z",
    "event_id": "e",
    "event_value": "",
    "event_value_type": "",
    "event_type": "click",
    "user_id": "",
    "campaign_id": "",
    "attribution_id": "",
    "workspace_id": "w",
    "project_id": "",
    "landing_page_id": "",
    "session_event_sequence": 1,
    "environment": "",
    "campaign_environment": "",
    "page_url": "https://example.com/?q='; DROP TABLE events_v1 --\\",
}


def event(session_id: str, **change: Any) -> dict[str, Any]:
    row = {**EVENT, "session_id": session_id, "id": str(uuid.uuid4()), **change}
    return {key: value for key, value in row.items() if value is not ...}


def ndjson(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def session_id() -> str:
    return f"session-{uuid.uuid4()}"


@pytest.fixture(scope="module")
def small_tinybird(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTinybird]:
    """One that lets one request a second and few bytes through."""
    tinybird = LocalTinybird(
        tmp_path_factory.mktemp("small"),
        TRACKER_LOCAL_TINYBIRD_REQUESTS_PER_SECOND="1",
        TRACKER_LOCAL_TINYBIRD_MAX_BODY_BYTES=str(MAX_BODY_BYTES),
    )
    tinybird.start()
    yield tinybird
    tinybird.stop()


def test_rows_are_written_and_read_back_as_they_were(local_tinybird: LocalTinybird, session_id: str):
    rows = [event(session_id, session_event_sequence=n, viewport_width=n, metadata='{"ä": "\\n"}') for n in (1, 2)]

    answer = local_tinybird.append("events_v1", ndjson(*rows))

    assert (answer.status, answer.json) == (200, {"successful_rows": 2, "quarantined_rows": 0})
    written = local_tinybird.sql(
        f"SELECT * FROM events_v1 FINAL WHERE session_id = '{session_id}' ORDER BY session_event_sequence"
    )
    for row, stored in zip(rows, written, strict=True):
        assert stored.pop("timestamp") == "2026-11-24 10:00:00.123"
        assert {key: value for key, value in stored.items() if value is not None} == {
            key: value for key, value in row.items() if key != "timestamp"
        }


def test_gzip_is_taken(local_tinybird: LocalTinybird, session_id: str):
    body = gzip.compress(ndjson(*(event(session_id) for _ in range(500))))

    answer = local_tinybird.append("events_v1", body, **{"Content-Encoding": "gzip"})

    assert (answer.status, answer.json["successful_rows"]) == (200, 500)


def test_without_wait_the_answer_is_only_accepted(local_tinybird: LocalTinybird, session_id: str):
    answer = local_tinybird.request("/v0/events?name=events_v1", ndjson(event(session_id)))

    assert answer.status == 202


def test_the_same_row_again_is_one_row_under_final(local_tinybird: LocalTinybird, session_id: str):
    body = ndjson(event(session_id))
    for _ in range(3):
        local_tinybird.append("events_v1", body)

    (counted,) = local_tinybird.sql(f"SELECT count() AS n FROM events_v1 FINAL WHERE session_id = '{session_id}'")
    assert counted["n"] == 1


def test_of_a_sessions_rows_the_highest_version_wins(local_tinybird: LocalTinybird, session_id: str):
    def row(version: int, *, is_expired: bool) -> dict[str, Any]:
        texts = dict.fromkeys(("session_key", "close_reason", *CONTEXT_FIELDS, *SESSION_ONLY_FIELDS), "")
        times = dict.fromkeys(("created_at", "last_activity_at"), "2026-11-24T10:00:00Z")
        counts = {"event_count": version, "session_timeout_seconds": 1800, "version": version}
        return {"session_id": session_id, **texts, **VISITOR_DEFAULTS, **times, **counts, "is_expired": is_expired}

    for rows in ([row(9, is_expired=True)], [row(4, is_expired=False)]):
        assert local_tinybird.append("session_v1", ndjson(*rows)).json["successful_rows"] == 1

    (stored,) = local_tinybird.sql(f"SELECT * FROM session_v1 FINAL WHERE session_id = '{session_id}'")
    assert (stored["version"], stored["is_expired"], stored["closed_at"]) == (9, True, None)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"id": ...}, "id"),
        ({"user_id": None}, "user_id"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"viewport_width": "wide"}, "viewport_width"),
        ({"session_event_sequence": 2**32}, "session_event_sequence"),
    ],
)
def test_a_row_that_does_not_fit_is_quarantined_and_the_others_are_written(
    local_tinybird: LocalTinybird, session_id: str, change: dict[str, Any], column: str
):
    answer = local_tinybird.append("events_v1", ndjson(event(session_id), event(session_id, **change)))

    assert (answer.status, answer.json) == (200, {"successful_rows": 1, "quarantined_rows": 1})
    (written,) = local_tinybird.sql(f"SELECT count() AS n FROM events_v1 FINAL WHERE session_id = '{session_id}'")
    assert written["n"] == 1
    (row,) = local_tinybird.sql(f"SELECT * FROM events_v1_quarantine WHERE session_id = '{session_id}'")
    assert row["c__error_column"] == [column]
    assert row["c__error"][0]
    assert row["event_type"] == "click"


def test_a_row_that_only_clickhouse_refuses_is_quarantined_too(local_tinybird: LocalTinybird, session_id: str):
    twice = json.dumps(event(session_id)).encode()[:-1] + b', "event_id": "again"}\n'

    answer = local_tinybird.append("events_v1", ndjson(event(session_id)) + twice + ndjson(event(session_id)))

    assert answer.json == {"successful_rows": 2, "quarantined_rows": 1}


def test_unknown_fields_are_ignored_and_a_body_without_rows_is_no_fault(local_tinybird: LocalTinybird, session_id: str):
    unknown = local_tinybird.append("events_v1", ndjson(event(session_id, colour="blue")))
    empty = local_tinybird.append("events_v1", b"\n\n")

    assert unknown.json == {"successful_rows": 1, "quarantined_rows": 0}
    assert (empty.status, empty.json) == (200, {"successful_rows": 0, "quarantined_rows": 0})


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"not json", {}),
        (b"[" + ndjson(event("x")).strip() + b"]", {}),
        (b"not gzip", {"Content-Encoding": "gzip"}),
        (gzip.compress(ndjson(event("x")))[:-9], {"Content-Encoding": "gzip"}),
        (gzip.compress(ndjson(event("x"))) + b"more", {"Content-Encoding": "gzip"}),
        (ndjson(event("x")), {"Content-Encoding": "br"}),
    ],
)
def test_a_body_that_is_not_ndjson_is_a_400_with_its_reason(
    local_tinybird: LocalTinybird, body: bytes, headers: dict[str, str]
):
    answer = local_tinybird.append("events_v1", body, **headers)

    assert answer.status == 400
    assert answer.json["error"]


def test_a_broken_line_means_that_no_line_is_written(local_tinybird: LocalTinybird, session_id: str):
    assert local_tinybird.append("events_v1", ndjson(event(session_id)) + b"{broken").status == 400

    (counted,) = local_tinybird.sql(f"SELECT count() AS n FROM events_v1 WHERE session_id = '{session_id}'")
    assert counted["n"] == 0


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/v0/events?wait=true", "a-token-for-tests", 400),
        ("/v0/events?name=nothing&wait=true", "a-token-for-tests", 404),
        ("/v0/events?name=events_v1_quarantine&wait=true", "a-token-for-tests", 404),
        ("/v0/events?name=events_v1", "wrong", 403),
        ("/v0/events?name=events_v1", None, 403),
        ("/v0/sql", "wrong", 403),
        ("/v0/nothing", "a-token-for-tests", 404),
    ],
)
def test_a_fault_of_the_request_has_its_status(
    local_tinybird: LocalTinybird, path: str, token: str | None, status: int
):
    answer = local_tinybird.request(path, ndjson(event("x")), token=token)

    assert answer.status == status
    assert answer.json["error"]


def test_beyond_the_rate_it_is_429_with_what_to_wait(small_tinybird: LocalTinybird):
    answers = [small_tinybird.append("session_v1", b"") for _ in range(4)]

    assert [answer.status for answer in answers if answer.status != 429] != []
    refused = next(answer for answer in answers if answer.status == 429)
    assert int(refused.headers["Retry-After"]) == 1
    assert refused.headers["X-RateLimit-Limit"] == "1"
    assert refused.headers["X-RateLimit-Remaining"] == "0"
    assert int(refused.headers["X-RateLimit-Reset"]) == 1
    assert small_tinybird.append("events_v1", b"").status == 200, "each datasource has a rate of its own"


@pytest.mark.parametrize("packed", [False, True])
def test_a_body_beyond_the_limit_is_413_even_if_it_is_small_when_packed(small_tinybird: LocalTinybird, packed: bool):
    body = b"\n" * (MAX_BODY_BYTES + 1)
    headers = {"Content-Encoding": "gzip"} if packed else {}

    body = gzip.compress(body) if packed else body

    # The rate of one request a second goes before the size.
    statuses = (small_tinybird.append("events_v1", body, **headers).status for _ in range(MAX_TRIES))
    assert next(status for status in statuses if status != 429) == 413


def test_data_survive_a_kill(tmp_path: Path, session_id: str):
    tinybird = LocalTinybird(tmp_path)
    tinybird.start()
    tinybird.append("events_v1", ndjson(event(session_id)))

    tinybird.kill()
    tinybird.start()

    (counted,) = tinybird.sql(f"SELECT count() AS n FROM events_v1 WHERE session_id = '{session_id}'")
    assert counted["n"] == 1
    assert tinybird.stop() == 0
