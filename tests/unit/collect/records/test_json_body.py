"""Bodies are unpacked and parsed within limits, whatever they hold."""

import base64
import contextlib
import gzip
import tracemalloc
import zlib

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracker.collect.errors import RequestError
from tracker.collect.records.json_body import MAX_JSON_DEPTH, check_media_type, from_base64url, parse_object, unpack

LIMIT_BYTES = 262_144


def code_of(call, *arguments) -> str:
    with pytest.raises(RequestError) as caught:
        call(*arguments)
    return caught.value.code


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_what_is_packed_is_unpacked(pack):
    encoding = "gzip" if pack is gzip.compress else " Deflate"
    assert unpack(pack(b"{}"), encoding, LIMIT_BYTES) == b"{}"


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_what_is_not_packed_stays_as_it_is(encoding):
    assert unpack(b"{}", encoding, LIMIT_BYTES) == b"{}"


def test_what_is_packed_may_be_as_large_as_the_limit():
    assert len(unpack(gzip.compress(b" " * 100), "gzip", 100)) == 100
    assert code_of(unpack, gzip.compress(b" " * 101), "gzip", 100) == "oversized"


def test_a_bomb_is_refused_after_the_limit_and_not_after_its_end():
    bomb = gzip.compress(b" " * 200_000_000, compresslevel=9)
    tracemalloc.start()
    assert code_of(unpack, bomb, "gzip", LIMIT_BYTES) == "oversized"
    assert tracemalloc.get_traced_memory()[1] < 4 * LIMIT_BYTES
    tracemalloc.stop()


@pytest.mark.parametrize(
    "packed",
    [b"nonsense", gzip.compress(b"{}")[:-1], gzip.compress(b"{}") + b"x", b""],
    ids=["nonsense", "cut off", "with more behind it", "empty"],  # gzip holds the time: no name that a test keeps
)
def test_what_is_not_what_it_says_is_refused(packed):
    assert code_of(unpack, packed, "gzip", LIMIT_BYTES) == "bad_request"


def test_an_encoding_that_nobody_knows_is_refused():
    assert code_of(unpack, b"{}", "br", LIMIT_BYTES) == "unsupported_media_type"


@pytest.mark.parametrize(
    "body", [b'{"batch":' + b"[" * 20 + b"]" * 20 + b"}", b'{"a":' * 17 + b"1" + b"}" * 17], ids=["lists", "objects"]
)
def test_deep_json_is_refused(body):
    assert code_of(parse_object, body) == "invalid"


@pytest.mark.parametrize("depth", [MAX_JSON_DEPTH, MAX_JSON_DEPTH + 1])
@pytest.mark.parametrize(("around", "levels"), [(b'{"a":%s}', 1), (b'{"batch":[%s]}', 2), (b'{"batch":[1,%s,{}]}', 2)])
def test_json_is_refused_from_the_first_level_beyond_the_limit_on(around, levels, depth):
    inside: object = 1
    for level in range(depth - levels):
        inside = [inside] if level % 2 else {"a": inside}
    body = around % orjson.dumps(inside)
    if depth > MAX_JSON_DEPTH:
        assert code_of(parse_object, body) == "invalid"
    else:
        assert parse_object(body)


def test_a_deep_event_does_not_hide_among_many_that_are_none():
    deep = b"[" * 200 + b"]" * 200
    assert code_of(parse_object, b'{"batch":[' + b"1," * 400 + deep + b"]}") == "invalid"
    assert code_of(parse_object, b'{"batch":[' + b"{}," * 400 + deep + b"]}") == "invalid"


def test_brackets_in_texts_and_beside_each_other_are_no_depth():
    assert parse_object(b'{"a":"' + b"[" * 100 + b'"}')
    assert parse_object(b'{"batch":[' + b",".join([b'{"b":[]}'] * 400) + b"]}")


def test_base64url_has_its_own_two_characters():
    assert from_base64url("eyJhIjoiw7_DvsO-In0") == '{"a":"ÿþþ"}'.encode()


def test_base64url_comes_with_or_without_padding():
    assert from_base64url("eyJhIjoxfQ") == from_base64url("eyJhIjoxfQ==") == b'{"a":1}'
    for text in (None, "", "e", "ä", "a b", "eyJh    IjoxfQ", "eyJhIjoxfQ\n\n\n\n", "eyJh=IjoxfQ"):
        assert code_of(from_base64url, text) == "bad_request"


@given(body=st.binary(min_size=1, max_size=40))
@example(b"\x01\x02\x17")  # ends with an X
def test_any_bytes_come_back_from_base64url(body):
    text = base64.urlsafe_b64encode(body).decode()
    assert from_base64url(text) == from_base64url(text.rstrip("=")) == body


@given(body=st.binary(max_size=200), encoding=st.sampled_from(["gzip", "deflate", "identity", ""]))
def test_any_bytes_are_unpacked_and_parsed_or_refused(body, encoding):
    with contextlib.suppress(RequestError):
        assert isinstance(parse_object(unpack(body, encoding, LIMIT_BYTES)), dict)


@given(text=st.text(max_size=40))
def test_any_text_is_base64url_or_refused(text):
    with contextlib.suppress(RequestError):
        assert isinstance(from_base64url(text), bytes)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"event_type":"\xff"}', b'{"a":NaN}', b'{"session_id":"\\ud800"}']
)
def test_what_is_not_json_in_utf_8_is_refused(body):
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert (caught.value.code, caught.value.status) == ("not_json", 400)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null"])
def test_json_that_is_no_object_is_refused(body):
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert (caught.value.code, caught.value.status) == ("invalid", 400)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "Application/JSON",
        "Application/JSON; charset=utf-8",
        "text/plain;charset=UTF-8",
        "text/plain; charset=utf-8; format=flowed",
    ],
)
def test_json_and_what_beacons_send_are_taken(content_type):
    check_media_type(content_type)


@pytest.mark.parametrize("content_type", ["", "text/html", "application/x-www-form-urlencoded", "json"])
def test_other_media_types_are_refused(content_type):
    with pytest.raises(RequestError) as caught:
        check_media_type(content_type)
    assert caught.value.status == 415
