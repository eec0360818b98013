"""The local Tinybird's SQL over HTTP: it answers what reads, and nothing else."""

import urllib.parse
from pathlib import Path

import pytest

from tests.fixtures.tinybird import Answer, LocalTinybird


def ask(tinybird: LocalTinybird, query: str) -> Answer:
    return tinybird.request("/v0/sql?" + urllib.parse.urlencode({"q": query}))


def test_answers_in_json_with_numbers_as_numbers(local_tinybird: LocalTinybird):
    answer = ask(local_tinybird, "SELECT toUInt64(7) AS n, 'ä' AS text, timezone() AS zone")

    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.json["data"] == [{"n": 7, "text": "ä", "zone": "UTC"}]
    assert answer.json["rows"] == 1
    assert [column["name"] for column in answer.json["meta"]] == ["n", "text", "zone"]


def test_a_query_may_name_another_format(local_tinybird: LocalTinybird):
    answer = ask(local_tinybird, "SELECT 1, 'a' FORMAT CSV")

    assert (answer.body, answer.headers["Content-Type"]) == (b'1,"a"\n', "text/plain; charset=utf-8")


def test_a_query_may_come_as_the_body_of_a_post(local_tinybird: LocalTinybird):
    answer = local_tinybird.request("/v0/sql", b"SELECT 1 AS n")

    assert answer.json["data"] == [{"n": 1}]


@pytest.mark.parametrize(
    "query", ["SHOW TABLES", "DESCRIBE TABLE events_v1", "EXPLAIN SELECT 1", "WITH 1 AS x SELECT x"]
)
def test_whatever_reads_is_answered(local_tinybird: LocalTinybird, query: str):
    assert ask(local_tinybird, query).status == 200


def test_a_query_may_have_lines_tabs_and_backslashes(local_tinybird: LocalTinybird):
    answer = ask(local_tinybird, "\n\tSELECT -- what\n\t'a\\\\b' AS path\n")

    assert answer.json["data"] == [{"path": "a\\b"}]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "SELEC 1",
        "SELECT * FROM nothing",
        "DROP TABLE events_v1",
        "INSERT INTO events_v1 (id) VALUES ('x')",
        "SELECT 1; DROP TABLE events_v1",
        "SELECT 1; USE system",
        "USE system",
        "SET readonly = 0",
        "KILL QUERY WHERE 1",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT * FROM file('/etc/passwd', LineAsString)",
        "SELECT * FROM url('http://127.0.0.1:1/', LineAsString)",
    ],
)
def test_whatever_else_is_a_400_and_changes_nothing(local_tinybird: LocalTinybird, query: str):
    answer = ask(local_tinybird, query)

    assert answer.status == 400
    assert answer.json["error"]
    assert local_tinybird.sql("SELECT count() AS n FROM events_v1")


def test_a_query_writes_no_file(local_tinybird: LocalTinybird, tmp_path: Path):
    answer = ask(local_tinybird, f"SELECT 1 INTO OUTFILE '{tmp_path}/answer'")

    assert answer.status == 400
    assert list(tmp_path.iterdir()) == []
