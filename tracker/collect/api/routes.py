"""Which endpoint an address and a method lead to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from tracker.collect.http.messages import Response
from tracker.collect.http.reply import Handler

TRACK: Final = "/api/v1/events/track"
SESSION: Final = "/api/v1/events/session"
PIXEL: Final = "/api/v1/events/pixel.gif"

#: Takes a request and returns a reply; other than a Handler it may raise RequestError.
Endpoint = Handler


class Route(NamedTuple):
    """The methods of an address. Metrics name it by its ``pattern``, which contains no id."""

    pattern: str
    methods: Mapping[str, Endpoint]
    #: Changes the form of each response, errors included.
    form: Callable[[Response], Response] | None = None

    def endpoint(self, method: str) -> Endpoint | None:
        """Return the endpoint of a method. HEAD is GET; the connection leaves the body out."""
        return self.methods.get(method) or (self.methods.get("GET") if method == "HEAD" else None)


#: The pattern of all addresses that don't exist.
UNKNOWN: Final = Route("unknown", {})


class Routes:
    """All addresses: fixed ones, and those of one session."""

    def __init__(self, fixed: Sequence[Route], session: Mapping[str, Endpoint], flush: Mapping[str, Endpoint]) -> None:
        self._fixed = {route.pattern: route for route in fixed}
        self._session = Route(f"{SESSION}/{{id}}", session)
        self._flush = Route(f"{SESSION}/{{id}}/flush", flush)

    @property
    def all(self) -> list[Route]:
        """Every address that exists."""
        return [*self._fixed.values(), self._session, self._flush]

    def find(self, path: str) -> Route:
        """Return the route of an address, or ``UNKNOWN``."""
        route = self._fixed.get(path)
        if route is not None:
            return route
        if not path.startswith(SESSION + "/"):
            return UNKNOWN
        # A session may be called flush.
        return self._flush if path.removeprefix(SESSION + "/").endswith("/flush") else self._session

    def pattern(self, path: str) -> str:
        """Return the pattern that names an address in metrics and traces."""
        return self.find(path).pattern
