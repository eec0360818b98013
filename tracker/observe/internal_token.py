"""Who may open the pages that are not for the world: clients on this machine, or those that know the shared secret.

All stages of a deployment have the same ``TRACKER_INTERNAL_TOKEN``. Without one, inner ports are for this machine only.
"""

import hmac
import ipaddress
from collections.abc import Mapping
from typing import Final

from tracker.errors import ConfigurationError
from tracker.settings import Settings

_SCHEME: Final = "Bearer "
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class InternalToken:
    """The shared secret, which may be missing."""

    def __init__(self, secret: str) -> None:
        self._expected = (_SCHEME + secret).encode() if secret else b""

    @classmethod
    def of(cls, settings: Settings) -> "InternalToken":
        """Return the deployment's."""
        return cls(settings.internal_token.get_secret_value())

    @property
    def is_set(self) -> bool:
        """Whether there is a secret."""
        return bool(self._expected)

    @property
    def headers(self) -> Mapping[str, str]:
        """What a request to another stage carries; nothing without a secret."""
        return {"Authorization": self._expected.decode()} if self._expected else {}

    def is_presented(self, authorization: str) -> bool:
        """Return whether a request's ``Authorization`` is the secret; False without one. It takes constant time."""
        given = authorization.encode(errors="surrogateescape")
        return self.is_set and hmac.compare_digest(given, self._expected)


def check_inner_port(host: str, port: int, token: InternalToken) -> None:
    """Refuse to show inner pages to other machines without a secret.

    Raises:
        ConfigurationError: other machines reach the address, and no secret is set.
    """
    if not token.is_set and not is_loopback(host):
        raise ConfigurationError(
            f"anybody who reaches {host}:{port} could read metrics and sessions: set TRACKER_INTERNAL_TOKEN, "
            "the same for all stages (docs/security.md)"
        )


def is_local_name(host: str) -> bool:
    """Return whether a ``Host`` header names this machine. A page elsewhere may have its own name lead here."""
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return is_loopback(name.removeprefix("[").removesuffix("]").lower())


def is_loopback(host: str) -> bool:
    """Return whether an address or a name can only be reached from the same machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def own_address(host: str) -> str:
    """Return where this machine reaches what it listens on at a host, which may stand for all of its addresses."""
    return _ANYWHERE.get(host, host)
