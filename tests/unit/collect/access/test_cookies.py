"""The session cookie is read with suspicion and written with a sliding age."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker.collect.access.cookies import IdCookie, cookie_value, is_minted, proposed_session


def test_a_minted_id_comes_back():
    session_id = "01a20bc4-6db1-7727-96d7-27d374d76c47"
    assert cookie_value(f"a=b; sid={session_id}", "sid") == session_id


@pytest.mark.parametrize("value", ["", "a b", 'a"b', "a,b", "a\\b", "é", "\x00", "x" * 129])
def test_a_value_that_can_be_no_id_counts_as_no_cookie(value):
    assert cookie_value(f"sid={value}", "sid") is None


@pytest.mark.parametrize(
    ("value", "session_id"), [("abc", "abc"), (None, None), ("", None), ("a b", None), ("x" * 129, None)]
)
def test_a_session_that_is_proposed_in_the_query_is_read_with_the_same_suspicion(value, session_id):
    assert proposed_session(value) == session_id


@pytest.mark.parametrize(
    ("session_id", "is_ours"),
    [
        ("01a20bc4-6db1-7727-96d7-27d374d76c47", True),
        ("01A20BC4-6DB1-7727-96D7-27D374D76C47", False),
        ("7c9e6679-7425-40de-944b-e07fc1f90ae7", False),  # a UUIDv4
        ("login-of-another-application", False),
        ("", False),
    ],
)
def test_ids_that_we_mint_have_a_form_of_their_own(session_id, is_ours):
    assert is_minted(session_id) == is_ours


def test_the_first_of_several_counts():
    assert cookie_value('sid="abc"; sid=def', "sid") == "abc"


def test_a_value_may_have_an_equals_sign_and_a_name_without_a_value_is_no_cookie():
    assert cookie_value("sid=a=b", "sid") == "a=b"
    assert cookie_value("sid; sid=abc", "sid") == "abc"
    assert cookie_value("sid", "sid") is None


def test_other_cookies_are_not_looked_at():
    assert cookie_value("other=abc; xsid=abc", "sid") is None


def test_scripts_and_other_sites_are_kept_out():
    assert IdCookie("sid").header("abc", 60) == "sid=abc; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure"
    shared = IdCookie("sid", is_secure=False, same_site="strict", domain="shop.example")
    assert shared.header("abc", 60) == "sid=abc; Max-Age=60; Path=/; Domain=shop.example; HttpOnly; SameSite=Strict"


def test_an_id_that_can_not_stand_in_a_cookie_is_not_put_into_one():
    assert IdCookie("sid").header("a;b", 60) is None


@given(
    header=st.text(max_size=60) | st.lists(st.sampled_from(["sid", "=", ";", " ", '"', "abc", "é", "\\"])).map("".join)
)
def test_whatever_a_header_holds_what_comes_out_can_be_written_back(header):
    session_id = cookie_value(header, "sid")
    if session_id is not None:
        assert cookie_value(IdCookie("sid").header(session_id, 1), "sid") == session_id
