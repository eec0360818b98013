"""What never changes is packed once, and not sent again to who has it."""

import base64
import gzip
import hashlib

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.api.pages import guards_of, static, unchanging
from tracker.collect.http.messages import Request, Response, render

BODY = b"let there = 'be light';" * 100


def ask(endpoint, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return endpoint(Request("GET", "/x", "", CIMultiDictProxy(CIMultiDict(named)), b"", "127.0.0.1")).respond()


def header(response: Response, name: str) -> str | None:
    return dict(response.headers).get(name)


@pytest.fixture
def endpoint():
    return unchanging(BODY, "text/javascript")


@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br", "br;q=1.0, GZIP;q=0.5"])
def test_who_takes_gzip_gets_the_same_in_fewer_bytes(endpoint, accepted):
    answer = ask(endpoint, Accept_Encoding=accepted)
    assert header(answer, "Content-Encoding") == "gzip"
    assert gzip.decompress(answer.body) == BODY
    assert len(answer.body) < len(BODY) / 5


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip; q=0.0", "x-gzipped"])
def test_everybody_else_gets_it_as_it_is(endpoint, accepted):
    answer = ask(endpoint, Accept_Encoding=accepted)
    assert header(answer, "Content-Encoding") is None
    assert answer.body == BODY


def test_caches_are_told_to_keep_both_apart(endpoint):
    answers = [ask(endpoint), ask(endpoint, Accept_Encoding="gzip")]
    assert {header(answer, "Vary") for answer in answers} == {"Accept-Encoding"}
    assert len({header(answer, "ETag") for answer in answers}) == 2


@pytest.mark.parametrize("accepted", ["", "gzip"])
def test_who_has_it_is_sent_nothing(endpoint, accepted):
    etag = header(ask(endpoint, Accept_Encoding=accepted), "ETag")
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = ask(endpoint, Accept_Encoding=accepted, If_None_Match=known)
        assert (answer.status, answer.body, header(answer, "ETag")) == (304, b"", etag)
        assert b"Content-Length" not in render(answer, "now", close=False, with_body=True)
    assert ask(endpoint, Accept_Encoding=accepted, If_None_Match='"other"').status == 200


def test_another_content_has_another_mark(endpoint):
    assert header(ask(endpoint), "ETag") != header(ask(unchanging(BODY + b" ", "text/javascript")), "ETag")


@pytest.mark.parametrize("name", ["demo.html", "docs.html", "live.html", "reports.html"])
def test_a_page_runs_its_own_scripts_only_and_is_shown_in_no_frame(name):
    answer = ask(static(name, "text/html"))
    policy = header(answer, "Content-Security-Policy") or ""
    assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy.split("; "))
    assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]
    assert header(answer, "X-Frame-Options") == "DENY"
    assert header(answer, "X-Content-Type-Options") == "nosniff"


def test_a_page_names_each_of_its_inline_scripts_by_its_hash():
    (_, policy), _ = guards_of(b"<script>one()</script><p></p><script>two\n()</script><script src='/x'></script>")
    one, two = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in (b"one()", b"two\n()"))
    assert f"script-src 'self' 'sha256-{one}' 'sha256-{two}'; " in policy


def test_a_script_has_no_policy_of_a_page():
    assert header(ask(static("reports.js", "text/javascript")), "Content-Security-Policy") is None
