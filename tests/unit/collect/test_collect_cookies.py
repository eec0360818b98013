"""The session cookie is read with suspicion and written with a sliding age."""

import pytest

from tracker.collect.cookies import proposed_session, session_cookie, session_from_cookie


def test_a_minted_id_comes_back():
    assert session_from_cookie("a=b; sid=01a20bc4-6db1-7727-96d7-27d374d76c47", "sid") is not None


@pytest.mark.parametrize("value", ["", "a b", 'a"b', "a,b", "a\\b", "é", "\x00", "x" * 129])
def test_a_value_that_can_be_no_id_counts_as_no_cookie(value):
    assert session_from_cookie(f"sid={value}", "sid") is None


def test_the_first_of_several_counts():
    assert session_from_cookie('sid="abc"; sid=def', "sid") == "abc"


def test_other_cookies_are_not_looked_at():
    assert session_from_cookie("other=abc; xsid=abc", "sid") is None


def test_scripts_and_other_sites_are_kept_out():
    header = session_cookie("sid", "abc", max_age_seconds=60, secure=True)
    assert header == "sid=abc; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure"
    assert "Secure" not in session_cookie("sid", "abc", max_age_seconds=60, secure=False)


@pytest.mark.parametrize(
    ("query", "session_id"),
    [
        ("key=k&session=visitor-1", "visitor-1"),
        ("session=a%2Fb", "a/b"),
        ("session=a&session=b", "b"),
        ("session=", None),
        ("session=a%0d%0aSet-Cookie:%20x=y", None),
        ("session=a;b", None),
        (f"session={'a' * 129}", None),
        ("key=k", None),
        ("", None),
    ],
)
def test_a_session_that_is_proposed_in_the_query_is_read_with_the_same_suspicion(query, session_id):
    assert proposed_session(query) == session_id
