"""Ports of this machine: is one free, and which one is."""

import itertools
import os
import socket
import sys
from collections import deque
from typing import Final
from urllib.parse import urlsplit

from tracker.errors import ConfigurationError, RetryableError

#: The local stack is for this machine only, whatever name a setting gives it.
LOOPBACK: Final = "127.0.0.1"
#: Below the ports that systems give to outgoing connections: none of those takes one before its listener is up.
FREE_PORTS: Final = range(20_000, 32_000)
#: Each process begins elsewhere and goes round: a port that was given out may have no listener yet. By this
#: factor, processes whose ids differ by up to 16 begin at least 705 ports apart.
_numbers: Final = itertools.count(os.getpid() * 6_353)
#: Of so many ports that it was given last, a process keeps all others of ours away. Each costs it a descriptor.
CLAIMED_PORTS: Final = 64
_claims: Final[deque[socket.socket]] = deque()
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
    """Make sure that no process listens on the port.

    Raises:
        ConfigurationError: a process does; the message names the port and the setting that changes it.
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
    """Return a port that was free a moment ago, and that no process of ours was given lately.

    Raises:
        RetryableError: none was found.
    """
    for number in itertools.islice(_numbers, len(FREE_PORTS)):
        port = FREE_PORTS[number % len(FREE_PORTS)]
        claim = socket.socket(socket.AF_UNIX)
        if _is_claimed(claim, port) and _is_free(port):
            _claims.append(claim)
            if len(_claims) > CLAIMED_PORTS:
                _claims.popleft().close()
            return port
        claim.close()
    raise RetryableError(f"no port from {FREE_PORTS[0]} to {FREE_PORTS[-1]} is free")


def _is_claimed(claim: socket.socket, port: int) -> bool:
    """Tell whether the port is ours now: until the claim is closed, no other process gets it.

    The claim is a name in Linux's abstract namespace, which is gone with its process. Elsewhere ports are not claimed.
    """
    if sys.platform == "linux":
        try:
            claim.bind(f"\0tracker-port-{port}")
        except OSError:
            return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
