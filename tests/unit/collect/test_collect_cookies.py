"""The session cookie is read with suspicion and written with a sliding age."""

import pytest

from tracker.collect.cookies import session_cookie, session_from_cookie


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
