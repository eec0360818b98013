"""Request lines as the standard allows them, and no others."""

import asyncio

import pytest

from tracker.collect.errors import RequestError
from tracker.collect.http.request_parser import RequestReader, WholeRequest


async def parse(line: str, *headers: str, body: bytes = b"") -> WholeRequest:
    reader = RequestReader(asyncio.get_running_loop(), max_body_bytes=1_000)
    head = "\r\n".join([line, *(headers or ("Host: collect.example",)), "", ""])
    whole = reader.feed(head.encode() + body)
    assert whole is not None
    return whole


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/healthz", "/healthz", ""),
        ("/a?b=c?d", "/a", "b=c?d"),
        ("http://collect.example/healthz?x=1", "/healthz", "x=1"),
        ("HTTP://Collect.Example/healthz", "/healthz", ""),
        ("https://collect.example/", "/", ""),
        ("http://collect.example", "/", ""),
        ("http://collect.example?x=1", "/", "x=1"),
    ],
)
async def test_a_target_may_be_in_absolute_form(target, path, query):
    whole = await parse(f"GET {target} HTTP/1.1")
    assert (whole.path, whole.query) == (path, query)


@pytest.mark.parametrize("target", ["http://evil.test/healthz", "http://collect.example:81/"])
async def test_a_target_for_another_host_is_refused(target):
    with pytest.raises(RequestError) as caught:
        await parse(f"GET {target} HTTP/1.1")
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("HTTP/1.1", None),
        ("HTTP/1.0", None),
        ("HTTP/2.0", "http_version"),
        ("HTTP/0.9", "http_version"),
        ("HTTP/3.0", ""),
    ],
)
async def test_other_versions_are_refused(version, code):
    if code is None:
        assert (await parse(f"GET / {version}")).path == "/"
        return
    with pytest.raises(RequestError) as caught:
        await parse(f"GET / {version}")
    assert caught.value.code in (code, "bad_request")
    assert code != "http_version" or caught.value.status == 505


async def test_a_body_in_parts_is_counted_until_it_is_whole_or_dropped():
    reader = RequestReader(asyncio.get_running_loop(), max_body_bytes=1_000)
    assert reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1234") is None
    assert reader.buffered_bytes == 4
    assert reader.feed(b"567890").body == b"1234567890"
    assert reader.buffered_bytes == 0
    reader.consumed()
    assert reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1234") is None
    reader.drop()
    assert reader.buffered_bytes == 0
