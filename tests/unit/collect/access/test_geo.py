"""Places from a MaxMind file, or from the headers of a CDN."""

from pathlib import Path

import pytest

from tests.geo_file import write_geo_file
from tracker.collect.access.geo import CACHE_ENTRIES, NOWHERE, GeoDatabase, GeoHeaders, Place
from tracker.errors import ConfigurationError

WIEN = {
    "country": {"iso_code": "AT"},
    "subdivisions": [{"iso_code": "9", "names": {"de": "Wien", "en": "Vienna"}}],
    "city": {"names": {"de": "Wien", "en": "Vienna"}},
}


@pytest.fixture
def database(tmp_path: Path):
    path = tmp_path / "city.mmdb"
    write_geo_file(path, "81.16.0.0/12", WIEN)
    opened = GeoDatabase(path)
    yield opened
    opened.close()


@pytest.mark.parametrize("address", ["81.16.0.0", "81.20.1.2", "81.31.255.255"])
def test_an_address_of_the_network_has_its_country_region_and_city_in_english(database, address):
    assert database.place(address) == Place("AT", "Vienna", "Vienna")


@pytest.mark.parametrize("address", ["81.32.0.0", "81.15.255.255", "127.0.0.1", "2001:db8::1", "not an address", ""])
def test_what_is_not_in_the_file_is_nowhere(database, address):
    assert database.place(address) == NOWHERE


def test_an_entry_that_knows_only_where_it_is_registered_gives_that_country(tmp_path: Path):
    path = tmp_path / "country.mmdb"
    write_geo_file(path, "203.0.113.0/24", {"registered_country": {"iso_code": "NZ"}})
    assert GeoDatabase(path).place("203.0.113.7") == Place("NZ")


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"city": {"names": {"en": "Vienna"}}}, Place("", "", "Vienna")),
        ({"country": {"names": {"en": "Austria"}}}, Place()),
        ({"country": {"iso_code": "AT"}, "subdivisions": [], "city": {"names": {"de": "Wien"}}}, Place("AT")),
        ({"country": {}, "registered_country": {"iso_code": "NZ"}, "subdivisions": [{}]}, Place("NZ")),
    ],
)
def test_what_an_entry_does_not_say_is_empty(tmp_path: Path, entry, place):
    path = tmp_path / "some.mmdb"
    write_geo_file(path, "203.0.113.0/24", entry)
    assert GeoDatabase(path).place("203.0.113.7") == place


def test_only_so_many_places_are_remembered(database):
    assert database.place.cache_info().maxsize == CACHE_ENTRIES


def test_a_database_that_is_closed_knows_no_more_places(database):
    database.close()
    assert database.place("81.20.1.2") == NOWHERE


def test_a_file_of_something_else_is_refused_with_its_name(tmp_path: Path):
    path = tmp_path / "other.mmdb"
    path.write_bytes(b"no MaxMind file")
    with pytest.raises(ConfigurationError, match=r"can't use the geo database .*other\.mmdb"):
        GeoDatabase(path)


def test_geo_headers_have_the_names_that_were_set():
    headers = {"CF-IPCountry": "at", "X-City": "Wien"}
    assert GeoHeaders("CF-IPCountry", "", "X-City").place({**headers, "": "Tirol"}) == Place("AT", "", "Wien")
