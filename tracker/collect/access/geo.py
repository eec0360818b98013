"""Where a visitor is: from the headers of a CDN that we trust, or from a MaxMind file."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

import maxminddb

from tracker.errors import ConfigurationError

#: Addresses whose place is remembered.
CACHE_ENTRIES: Final = 16_384


class Place(NamedTuple):
    """A place as well as it is known; empty means not known."""

    country: str = ""  # ISO 3166-1 alpha-2
    region: str = ""
    city: str = ""


NOWHERE: Final = Place()


class GeoHeaders(NamedTuple):
    """The names of the headers in which a CDN says where its visitor is; empty: it does not say."""

    country: str = ""
    region: str = ""
    city: str = ""

    def place(self, headers: Mapping[str, str]) -> Place:
        """Return what the headers say."""
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
            self._reader = maxminddb.open_database(path, maxminddb.MODE_AUTO)
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            raise ConfigurationError(f"can't use the geo database {path}: {error}") from None
        self.place: Callable[[str], Place] = lru_cache(maxsize=CACHE_ENTRIES)(self._place)

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def _place(self, address: str) -> Place:
        try:
            found: Any = self._reader.get(ip_address(address))
        except ValueError:  # no address, or one of IPv6 in a file of IPv4
            return NOWHERE
        if not isinstance(found, dict):
            return NOWHERE
        country = found.get("country") or found.get("registered_country") or {}
        regions = found.get("subdivisions") or [{}]
        return Place(str(country.get("iso_code", "")), _english(regions[0]), _english(found.get("city") or {}))


def _english(names: dict[str, Any]) -> str:
    return str(names.get("names", {}).get("en", ""))
