"""The listening sockets of several processes on one port."""

import socket
from typing import Final

from tracker.collect.http.server import LISTEN_BACKLOG
from tracker.observe.pages import cant_listen
from tracker.settings import Settings

#: Addresses that this process listens on: it may share them with itself only.
_ours: Final[set[object]] = set()


def listen(settings: Settings) -> list[socket.socket]:
    """Return listening sockets that share the port with others of this process, one for each address of the host.

    Raises:
        ConfigurationError: the port can't be listened on.
    """
    host, port = settings.collect_host, settings.collect_port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return [_bound(family, address) for family, address in {(item[0], item[4]) for item in found}]
    except OSError as error:
        raise cant_listen(host, port, error, "TRACKER_COLLECT_PORT") from None


def _bound(family: int, address: object) -> socket.socket:
    if address not in _ours:
        # With SO_REUSEPORT the port would be shared, without an error, with any other program of this user.
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)  # type: ignore[arg-type]
        _ours.add(address)
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind(address)  # type: ignore[arg-type]
    bound.listen(LISTEN_BACKLOG)
    return bound
