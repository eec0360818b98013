"""Where a visitor is: from the headers of a trusted CDN, or from a MaxMind file."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

import maxminddb

from tracker.errors import ConfigurationError
from tracker.settings import Settings

#: Addresses whose place is remembered.
CACHE_ENTRIES: Final = 16_384


class Place(NamedTuple):
    """A place; a field that is not known is empty."""

    country: str = ""  # ISO 3166-1 alpha-2
    region: str = ""
    city: str = ""


NOWHERE: Final = Place()


class GeoHeaders(NamedTuple):
    """The names of the headers in which a CDN says where its visitor is; an empty name: it does not say."""

    country: str = ""
    region: str = ""
    city: str = ""

    def place(self, headers: Mapping[str, str]) -> Place:
        """Return the place in the headers."""
        country, region, city = (headers.get(name, "") if name else "" for name in self)
        return Place(country.strip().upper(), region.strip(), city.strip())


class GeoDatabase:
    """A MaxMind file (GeoLite2-City, GeoIP2-Country or of their form), read into memory once."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            ConfigurationError: it does not exist, or is not a MaxMind file.
        """
        try:
            self._reader = maxminddb.open_database(path)
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            raise ConfigurationError(f"can't use the geo database {path}: {error}") from None
        self.place: Callable[[str], Place] = lru_cache(maxsize=CACHE_ENTRIES)(self._place)

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def _place(self, address: str) -> Place:
        try:
            found: Any = self._reader.get(ip_address(address))
        except ValueError:  # not an address, or one of IPv6 in a file of IPv4
            return NOWHERE
        if not isinstance(found, dict):
            return NOWHERE
        country = found.get("country") or found.get("registered_country") or {}
        regions = found.get("subdivisions") or [{}]
        return Place(str(country.get("iso_code", "")), _english(regions[0]), _english(found.get("city") or {}))


class Geo:
    """Where visitors are, from the sources that the settings name."""

    def __init__(self, settings: Settings) -> None:
        """Open the database.

        Raises:
            ConfigurationError: it does not exist, or is not a MaxMind file.
        """
        self._headers = GeoHeaders(settings.geo_country_header, settings.geo_region_header, settings.geo_city_header)
        self._database = None if settings.geo_database is None else GeoDatabase(settings.geo_database)

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()

    @property
    def is_known(self) -> bool:
        """Whether there is any source."""
        return self._database is not None or any(self._headers)

    def place(self, headers: Mapping[str, str], address: str, *, is_trusted: bool) -> Place:
        """Return the place of an address; the headers are only believed if ``is_trusted``."""
        if is_trusted and any(self._headers):
            place = self._headers.place(headers)
            if any(place):
                return place
        return NOWHERE if self._database is None else self._database.place(address)


def open_geo(settings: Settings) -> Geo | None:
    """Return the sources that the settings name; None if they name none.

    Raises:
        ConfigurationError: the database does not exist, or is not a MaxMind file.
    """
    geo = Geo(settings)
    return geo if geo.is_known else None


def _english(names: dict[str, Any]) -> str:
    return str(names.get("names", {}).get("en", ""))
