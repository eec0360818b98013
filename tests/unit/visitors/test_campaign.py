"""Campaigns are found in addresses as the world writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from topics.visitor import MAX_CLICK_ID_CHARS, Visitor
from tracker.visitors.campaign import CLICK_ID_PARAMETERS, CampaignReader, read_parameters
from tracker.visitors.page import PageReader

SHOP = "https://shop.example"
CAMPAIGN = {"utm_source": "mail", "utm_campaign": "spring sale"}


def campaign(url: str, extra: str = "") -> dict[str, str]:
    return CampaignReader(read_parameters(extra)).fields(url)


@pytest.mark.parametrize(
    "url",
    [
        f"{SHOP}/a?utm_source=mail&utm_campaign=spring%20sale",
        f"{SHOP}/a?x=1&utm_source=mail&y=2&utm_campaign=spring+sale#top",
        f"{SHOP}/a?UTM_Source=mail&Utm_CAMPAIGN=spring+sale",
        f"{SHOP}/a?utm_source=mail&amp;utm_campaign=spring+sale",
        f"{SHOP}/a?utm_source=mail&amp;amp;utm_campaign=spring+sale",
        f"{SHOP}/a#utm_source=mail&utm_campaign=spring+sale",
        f"{SHOP}/#/landing?utm_source=mail&utm_campaign=spring+sale",
        f"{SHOP}/#!/landing/page?utm_source=mail&utm_campaign=spring+sale",
        f"{SHOP}/a?utm_source=mail#/b?utm_campaign=spring+sale",
        f"{SHOP}/a?" + "x=1&" * 500 + "utm_source=mail&utm_campaign=spring+sale",
        f"{SHOP}/a?utm_source=mail&utm_campaign=spring+sale&" + "x=1&" * 500,
        f"{SHOP}/a?utm_source=mail&utm_source=other&utm_campaign=spring+sale&utm_term=",
        f"{SHOP}/a?mtm_source=mail&pk_campaign=spring+sale",
    ],
)
def test_tags_are_found_wherever_and_however_they_are_written(url):
    assert campaign(url) == CAMPAIGN


@pytest.mark.parametrize(
    "url", ["", SHOP, f"{SHOP}/utm_source=mail", f"{SHOP}/a?xutm_source=mail&utm_sourcex=mail", "?utm_source"]
)
def test_other_parts_of_an_address_are_no_tags(url):
    assert campaign(url) == {}


@pytest.mark.parametrize("name", CLICK_ID_PARAMETERS)
def test_a_click_id_is_kept_with_the_name_of_its_parameter(name):
    url = f"{SHOP}/?utm_source=ads&{name.upper()}=Abc-1_2"
    assert campaign(url) == {"utm_source": "ads", "click_id": "Abc-1_2", "click_id_type": name}


def test_of_several_click_ids_a_paid_one_counts():
    url = f"{SHOP}/?fbclid=shared&gclid=paid&igshid=x"
    assert campaign(url) == {"click_id": "paid", "click_id_type": "gclid"}


def test_a_click_id_that_is_too_long_is_left_out_not_cut():
    long = "x" * (MAX_CLICK_ID_CHARS + 1)
    assert campaign(f"{SHOP}/?gclid={long}&fbclid=y") == {"click_id": "y", "click_id_type": "fbclid"}


def test_a_deployment_may_have_parameters_of_its_own():
    extra = "src=utm_source, affid=click_id"
    assert campaign(f"{SHOP}/?SRC=partner&affid=77&gclid=g", extra) == {
        "utm_source": "partner",
        "click_id": "77",
        "click_id_type": "affid",
    }


@pytest.mark.parametrize("setting", ["src", "src=utm_medias", "=utm_source", "a b=utm_source", "src=ip"])
def test_a_parameter_that_can_not_be_read_is_an_error(setting):
    with pytest.raises(ValueError, match=r"src|utm_source"):
        read_parameters(setting)


def test_a_page_tells_of_its_campaign_and_its_referrer():
    visitor = TypeAdapter(Visitor).validate_json(
        b"{"
        + PageReader().fields(f"{SHOP}/?utm_source=mail&gclid=g", "https://Search.example:8443/find?q=1", False)
        + b"}"
    )
    assert visitor == {
        "referrer_host": "search.example",
        "utm_source": "mail",
        "click_id": "g",
        "click_id_type": "gclid",
    }
    assert PageReader().fields(f"{SHOP}/a", f"{SHOP}/b", False) == b""


def test_an_anonymous_visitor_has_no_click_id():
    assert PageReader().fields(f"{SHOP}/?utm_source=mail&gclid=g", "", True) == b'"utm_source":"mail"'


@given(
    page=st.text(max_size=60)
    | st.sampled_from(["https://[", "https://a/?utm_source=" + "x" * 5_000, "//a@b:c/?utm_term=%ff", "?gclid=%00"]),
    referrer=st.text(max_size=60) | st.sampled_from(["http://" + "a" * 5_000, "https://\x1b[31m/"]),
)
def test_whatever_an_address_holds_fits_the_visitors_fields(page, referrer):
    TypeAdapter(Visitor).validate_json(b"{" + PageReader().fields(page, referrer, False) + b"}")
