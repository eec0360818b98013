"""Which endpoint an address and a method lead to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from tracker.collect.http.messages import Answer, Request

TRACK: Final = "/api/v1/events/track"
SESSION: Final = "/api/v1/events/session"
PIXEL: Final = "/api/v1/events/pixel.gif"

Endpoint = Callable[[Request], Answer]


class Route(NamedTuple):
    """What an address takes. ``pattern`` stands for it in the figures, without anybody's id."""

    pattern: str
    methods: Mapping[str, Endpoint]

    def endpoint(self, method: str) -> Endpoint | None:
        """Return what answers a method. HEAD is GET without a body, which the connection leaves out."""
        return self.methods.get("GET" if method == "HEAD" else method)


class Routes:
    """All addresses: fixed ones, and those of one session."""

    def __init__(self, fixed: Sequence[Route], session: Mapping[str, Endpoint], flush: Mapping[str, Endpoint]) -> None:
        self._fixed = {route.pattern: route for route in fixed}
        self._session = Route(f"{SESSION}/{{id}}", session)
        self._flush = Route(f"{SESSION}/{{id}}/flush", flush)

    @property
    def all(self) -> list[Route]:
        """Every address that there is, with its methods."""
        return [*self._fixed.values(), self._session, self._flush]

    def find(self, path: str) -> Route | None:
        """Return the route of an address, or None."""
        route = self._fixed.get(path)
        if route is not None or not path.startswith(SESSION + "/"):
            return route
        # A session may be called flush.
        return self._flush if path.removeprefix(SESSION + "/").endswith("/flush") else self._session

    def pattern(self, path: str) -> str:
        """Return what stands for an address in figures and traces."""
        route = self.find(path)
        return "unknown" if route is None else route.pattern
