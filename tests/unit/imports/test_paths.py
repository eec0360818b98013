"""Columns as paths: what they find in a row, and what is left for a star."""

import json

import pytest

from topics.codec import RejectedRecord
from tracker.errors import ConfigurationError
from tracker.imports.paths import Columns

ROW = {
    "user": "u",
    "context": {"page": {"url": "https://x/", "title": "X"}, "locale": "de"},
    "params": [
        {"key": "page_location", "value": {"string_value": "https://y/", "int_value": None}},
        {"key": "ga_session_id", "value": {"int_value": "1740823200"}},
        {"key": "value", "value": {"string_value": None, "double_value": 9.5}},
        {"key": "nothing", "value": {"string_value": None}},
    ],
    "attributes": [{"key": "retries", "value": {"intValue": "3"}}, {"key": "plain", "value": "p"}],
    "items": [{"price": 1}, {"price": 2}],
    "properties": json.dumps({"order.id": "o-1", "$url": "https://z/", "deep": {"a": 1, "b": 2}}),
    "flat.name": "f",
    "action": {"type": "click", "url": "https://out/"},
    "empty": "",
    "null": None,
}


def find(*columns: str) -> list:
    found = Columns(columns, allows_others=True).find(ROW)
    return [found.get(slot) for slot in range(len(columns))]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("user", "u"),
        ("context.page.url", "https://x/"),
        ("context.page", {"url": "https://x/", "title": "X"}),
        ("params.page_location", "https://y/"),
        ("params.ga_session_id", 1_740_823_200),
        ("params.value", 9.5),
        ("attributes.retries", 3),
        ("attributes.plain", "p"),
        ("items.1.price", 2),
        ('properties."order.id"', "o-1"),
        ("properties.$url", "https://z/"),
        ("properties.deep.b", 2),
        ("flat.name", "f"),
        ("action[type=click].url", "https://out/"),
        ("action[type=click]", ROW["action"]),
    ],
)
def test_a_path_finds_its_value(column: str, value: object) -> None:
    assert find(column) == [value]


@pytest.mark.parametrize(
    "column",
    [
        "user.name", "context.page.url.host", "params.nothing", "params.absent", "items.7.price", "items.price",
        "action[type=view].url", "action[kind=click].url", "empty", "null", "absent", "absent.*",
    ],
)  # fmt: skip
def test_a_path_to_nothing_finds_nothing(column: str) -> None:
    assert find(column) == [None]


def test_a_star_takes_what_no_other_path_names_to_any_depth() -> None:
    assert find("context.*", "context.page.url") == [{"page": {"title": "X"}, "locale": "de"}, "https://x/"]
    assert find("params.*", "params.value") == [{"page_location": "https://y/", "ga_session_id": 1_740_823_200}, 9.5]
    assert find("properties.*", "properties.deep") == [{"order.id": "o-1", "$url": "https://z/"}, {"a": 1, "b": 2}]
    assert find("action.*", "action[type=click].url")[0] == {"type": "click"}
    assert find("action.*", "action[type=view].url")[0] == ROW["action"]


def test_a_star_alone_takes_the_rest_of_the_row() -> None:
    names = [name for name in ROW if name not in ("user", "flat.name")]
    assert find("*", *names) == [{"user": "u", "flat.name": "f"}, *find(*names)]


def test_a_column_that_is_not_named_is_refused_unless_others_are_allowed() -> None:
    with pytest.raises(RejectedRecord, match="'b' is no field"):
        Columns(["a"], allows_others=False).find({"a": 1, "b": 2})
    assert Columns(["a", "*"], allows_others=False).find({"a": 1, "b": 2}) == {0: 1, 1: {"b": 2}}


@pytest.mark.parametrize("column", ["", ".", "a.", ".a", "a..b", "a.*.b", 'a."b', "a[b", "a[b]", "a[=c].d]"])
def test_a_column_that_can_not_be_read_is_an_error(column: str) -> None:
    with pytest.raises(ConfigurationError, match="is no column"):
        Columns([column], allows_others=True)
