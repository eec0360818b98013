"""The visitor's cookie: who gets one, whose is believed, and when it goes."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.access.admission import Admission, Sender
from tracker.collect.access.consent import visitor_after
from tracker.collect.access.cookies import IdCookie
from tracker.collect.http.messages import Request
from tracker.collect.metrics import CollectMetrics
from tracker.settings import Settings

NAME = "tracker_visitor"
KNOWN, SESSION = "01a20bc4-6db1-7727-96d7-27d374d76c47", "01a20bc4-6db1-7727-96d7-27d374d76c48"
COOKIES = f"tracker_session={SESSION}; {NAME}={KNOWN}"


def sender(method: str = "POST", *, headers: dict[str, str] | None = None, **settings: object) -> Sender:
    given = Settings(_env_file=None, **{"visitor_cookie_name": NAME, **settings})
    named = CIMultiDictProxy(CIMultiDict(headers or {}))
    return Admission(given, None, CollectMetrics().access).sender(Request(method, "/", "", named, b"", "127.0.0.1"))


def known(method: str = "POST", *, headers: dict[str, str] | None = None, **settings: object) -> tuple[str, bool]:
    found = sender(method, headers=headers, **settings)
    return found.visitor_id, found.keeps_visitor


def test_the_cookie_names_the_visitor_beside_the_session():
    found = sender(headers={"Cookie": COOKIES})
    assert (found.session_id, found.visitor_id, found.keeps_visitor) == (SESSION, KNOWN, True)


def test_a_cookie_in_the_second_line_of_the_header_is_found():
    lines = CIMultiDictProxy(CIMultiDict([("Cookie", "a=b"), ("Cookie", f"{NAME}={KNOWN}")]))
    given = Settings(_env_file=None, visitor_cookie_name=NAME)
    asked = Request("POST", "/", "", lines, b"", "127.0.0.1")
    assert Admission(given, None, CollectMetrics().access).sender(asked).visitor_id == KNOWN


def test_a_visitor_without_the_cookie_may_be_given_one():
    assert known() == ("", True)


def test_without_a_name_the_cookie_is_neither_read_nor_set():
    assert known(headers={"Cookie": COOKIES}, visitor_cookie_name="") == ("", False)


def test_a_cookie_with_another_applications_value_stays_that_applications():
    metrics = CollectMetrics()
    lines = CIMultiDictProxy(CIMultiDict({"Cookie": f"{NAME}=someone"}))
    asked = Request("POST", "/", "", lines, b"", "127.0.0.1")
    found = Admission(Settings(_env_file=None, visitor_cookie_name=NAME), None, metrics.access).sender(asked)
    assert (found.visitor_id, found.keeps_visitor) == ("", False)
    assert b"tracker_collect_foreign_cookies_total 1.0" in metrics.exposition()


def test_who_objects_has_no_visitor():
    assert known(headers={"Cookie": COOKIES, "Sec-GPC": "1"}) == ("", False)


def test_a_page_whose_cookies_stay_out_has_no_visitor():
    assert known(headers={"Cookie": COOKIES, "Origin": "https://elsewhere.example"}, collect_open=True) == ("", False)


def test_a_link_and_a_collector_that_only_reads_cookies_leave_the_cookie_as_it_is():
    assert known("GET", headers={"Cookie": COOKIES}) == (KNOWN, False)
    assert known(headers={"Cookie": COOKIES}, cookie_write=False) == (KNOWN, False)


@pytest.mark.parametrize(
    ("answer", "was", "may_mint", "is_now"),
    [
        ("granted", "", True, "new"),
        ("granted", "", False, ""),
        ("granted", KNOWN, True, KNOWN),
        ("denied", KNOWN, True, ""),
        ("denied", "", True, ""),
        (None, "", True, ""),
        (None, KNOWN, True, KNOWN),
        (["granted"], "", True, ""),
    ],
)
def test_only_a_consent_makes_a_visitor_known_and_a_denial_ends_that(answer, was, may_mint, is_now):
    assert visitor_after(answer, was, may_mint=may_mint, new_id=lambda: "new") == is_now


def test_a_cookie_is_removed_with_the_attributes_that_it_was_set_with():
    removal = IdCookie(NAME, domain="shop.example").removal()
    assert removal == f"{NAME}=; Max-Age=0; Path=/; Domain=shop.example; HttpOnly; SameSite=Lax; Secure"


def test_both_cookies_need_names_of_their_own():
    with pytest.raises(ValueError, match="must not be the same"):
        Settings(_env_file=None, cookie_name="one", visitor_cookie_name="one")
