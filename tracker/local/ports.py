"""Ports of this machine: is one free, and which one is."""

import socket
from typing import Final
from urllib.parse import urlsplit

from tracker.errors import ConfigurationError

#: The local stack is for this machine only, whatever name a setting gives it.
LOOPBACK: Final = "127.0.0.1"
_LOCAL_NAMES: Final = frozenset({LOOPBACK, "localhost"})


def local_port(address: str, setting: str) -> int:
    """Return the port of a ``host:port`` or URL that must mean this machine.

    Raises:
        ConfigurationError: if it names another machine, several machines, or no port.
    """
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.hostname not in _LOCAL_NAMES or not port:
        raise ConfigurationError(f"{setting}={address}: the local stack needs localhost:PORT here")
    return port


def require_free_port(port: int, setting: str) -> None:
    """Make sure that nobody listens on the port.

    Raises:
        ConfigurationError: if somebody does; names the port and the setting that changes it.
    """
    with socket.socket() as probe:
        # Without it a port that was in use a minute ago still counts as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} is taken ({error.strerror}); stop what uses it or set {setting} to another"
            ) from None


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
