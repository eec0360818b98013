"""The address of a client: that of the connection, unless a trusted proxy names another one."""

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Literal

from tracker.errors import ConfigurationError

#: Addresses that are remembered with their results: ipaddress is pure Python (6 us).
CACHE_ENTRIES: Final = 8_192
#: Proxies in a row that are believed at most.
MAX_HOPS: Final = 32

IpPolicy = Literal["keep", "truncate", "drop"]

#: The bits of a truncated address: the network of a street or a company, not of a household.
_KEPT_BITS_V4: Final = 24
_KEPT_BITS_V6: Final = 48


class TrustedProxies:
    """The networks whose X-Forwarded-For, and whose geo headers, are believed."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Read the networks in CIDR notation.

        Raises:
            ConfigurationError: one of them is not a network.
        """
        try:
            self._networks = tuple(ip_network(network, strict=False) for network in networks)
        except ValueError as error:
            raise ConfigurationError(f"TRACKER_TRUSTED_PROXIES: {error}") from None
        self.trusts: Callable[[str], bool] = lru_cache(maxsize=CACHE_ENTRIES)(self._trusts)
        self._client: Callable[[str, str], str] = lru_cache(maxsize=CACHE_ENTRIES)(self._find_client)

    def __len__(self) -> int:
        return len(self._networks)

    def client(self, peer: str, forwarded_for: str | None) -> str:
        """Return the address of the last machine before our proxies. ``forwarded_for`` has all lines of the header."""
        if not forwarded_for or not self.trusts(peer):
            return peer
        return self._client(peer, forwarded_for)

    def _find_client(self, peer: str, forwarded_for: str) -> str:
        # Each proxy appends the address of its peer. Everything left of the first stranger is the stranger's own claim.
        client = peer
        for hop in reversed(forwarded_for.split(",")[-MAX_HOPS:]):
            address = _address(hop)
            if address is None:
                return client
            client = str(address)
            if not self.trusts(client):
                return client
        return client

    def _trusts(self, address: str) -> bool:
        parsed = _address(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address as proxies write it: bare, with a port, or in brackets. A zone (``%eth0``) is left out."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=CACHE_ENTRIES)
def counted_as(address: str) -> str:
    """Return the name that limits count an address under. A household has a whole IPv6 /64 to itself."""
    if ":" not in address:
        return address
    parsed = _address(address)
    return str(IPv6Network((int(parsed), 64), strict=False)) if isinstance(parsed, IPv6Address) else address


@lru_cache(maxsize=CACHE_ENTRIES)
def kept_ip(address: str, policy: IpPolicy) -> str:
    """Return the part of an address that may be stored: all of it, its network, or nothing."""
    parsed: Any = None if policy == "drop" else _address(address)
    if parsed is None:
        return ""
    if policy == "keep":
        return str(parsed)
    kept = _KEPT_BITS_V4 if isinstance(parsed, IPv4Address) else _KEPT_BITS_V6
    return str(ip_network((int(parsed), kept), strict=False).network_address)
