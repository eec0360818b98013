"""Where a request may carry its key, and which of several counts."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.access.presented_key import header_key, presented_key, query_field
from tracker.collect.errors import RequestError
from tracker.collect.http.messages import Request


def request(query: str = "", *lines: tuple[str, str]) -> Request:
    return Request("POST", "/", query, CIMultiDictProxy(CIMultiDict(lines)), b"", "198.51.100.1")


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("key=abc", "abc"),
        ("a=1&key=abc", "abc"),
        ("a=1&key=abc&b=2", "abc"),
        ("key=first&key=second", "first"),
        ("a=1&key=first&key=second", "first"),
        ("key=", ""),
        ("key=&a=1", ""),
        ("key=a=b", "a=b"),
        # as a form encodes them
        ("key=a+b", "a b"),
        ("key=a%2Bb", "a+b"),
        ("key=a%20b%26c", "a b&c"),
        ("key=%zz", "%zz"),
        ("key=a+b%2B", "a b+"),
        # not a field of that name
        ("", None),
        ("a=1", None),
        ("key", None),
        ("keys=1", None),
        ("monkey=1", None),
        ("a=key=1", None),
        ("a=1&monkey=2", None),
        ("monkey=1&key=2", "2"),
        ("keys=1&key=2", "2"),
        ("a=%26key=1", None),
    ],
)
def test_a_field_of_a_query_is_found_by_its_whole_name_and_decoded(query: str, value: str | None):
    assert query_field(query, "key") == value


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("X-Write-Key", "abc", "abc"),
        ("x-write-key", "Bearer abc", "Bearer abc"),
        ("Authorization", "Bearer abc", "abc"),
        ("Authorization", "bearer  abc ", "abc"),
        ("Authorization", "BEARER abc", "abc"),
        ("Authorization", "Basic abc", None),
        ("Authorization", "Bearerabc", None),
        ("Authorization", "", None),
        ("X-Other", "abc", None),
    ],
)
def test_a_key_may_come_in_either_header(name: str, value: str, key: str | None):
    assert header_key(request("", (name, value))) == key
    assert presented_key(request("key=other", (name, value))) == ("other" if key is None else key)


def test_the_header_that_is_only_for_keys_comes_before_the_other_and_both_before_the_query():
    both = (("Authorization", "Bearer second"), ("X-Write-Key", "first"))
    assert presented_key(request("key=third", *both)) == "first"
    assert presented_key(request("key=third", both[0])) == "second"
    assert presented_key(request("key=third")) == "third"
    assert presented_key(request()) is None


@pytest.mark.parametrize("name", ["X-Write-Key", "Authorization"])
def test_a_header_with_a_key_may_come_once(name: str):
    with pytest.raises(RequestError, match=name):
        header_key(request("", (name, "Bearer a"), (name, "Bearer b")))
