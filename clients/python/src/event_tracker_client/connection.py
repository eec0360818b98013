"""One connection to a collector: a parcel becomes a request, and its response or its failure an answer.

All modules are imported here, those that are first needed by a request, too: a fork while another thread imports a
module leaves the child with a lock on that module that nobody ever opens.
"""

import encodings.idna  # noqa: F401 - socket.getaddrinfo needs it
import gzip
import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from event_tracker_client.answers import Answer, read_answer
from event_tracker_client.items import Item, iso_time
from event_tracker_client.outbox import Parcel

#: An idle collector closes its end after 75 s; and a new connection finds collectors that were added meanwhile.
MAX_CONNECTION_AGE_SECONDS: Final = 60.0
#: More of an answer is not read. Verdicts of a full batch are about 60 KB.
MAX_ANSWER_BYTES: Final = 1_048_576
#: Smaller bodies gain nothing from compression.
_MIN_GZIP_BYTES: Final = 1_024
_GZIP_LEVEL: Final = 1
#: After these the next try goes to another collector, if a balancer has one.
_MOVE_ON: Final = frozenset({429, 500, 502, 503, 504})

_TRACK: Final = "/api/v1/events/track"
_SESSION: Final = "/api/v1/events/session"


class Connection:
    """Opened when it is needed. Used by one thread at a time."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout_ms: int,
        use_gzip: bool,
        ssl_context: ssl.SSLContext | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Talk to the collector at ``url``, which may have a path in front of the API's.

        Raises:
            ValueError: it is not an address of HTTP or HTTPS, or names a user.
        """
        address = urlsplit(url)
        if address.scheme not in {"http", "https"} or not address.hostname or address.query or address.fragment:
            raise ValueError("url: must be such as https://collect.example.com")
        if address.username is not None or address.password is not None:
            raise ValueError("url: give the key as write_key, not in the address")
        self._is_secure = address.scheme == "https"
        self._host, self._port = address.hostname, address.port
        self._prefix = address.path.rstrip("/")
        self._headers = {**headers, "Content-Type": "application/json"}
        self._timeout_seconds = timeout_ms / 1_000
        self._use_gzip = use_gzip
        self._ssl_context = ssl_context
        self._monotonic = monotonic
        self._http: http.client.HTTPConnection | None = None
        self._opened_at = 0.0

    def send(self, parcel: Parcel) -> Answer:
        """Send a parcel and return the answer. Never raises for anything that the network or the collector does."""
        method, path, body = _request(parcel)
        headers = {**self._headers, **parcel.items[0].headers}
        if self._use_gzip and len(body) >= _MIN_GZIP_BYTES:
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers["Content-Encoding"] = "gzip"
        try:
            connection = self._connected()
            connection.request(method, self._prefix + path, body or None, headers)
            response = connection.getresponse()
            answer = read_answer(response.status, response.getheader("Retry-After"), response.read(MAX_ANSWER_BYTES))
            if response.status in _MOVE_ON or not response.isclosed():
                self.close()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Answer(None, error=f"no answer: {type(error).__name__}: {error}")
        return answer

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        connection, self._http = self._http, None
        if connection is not None:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        now = self._monotonic()
        if self._http is not None and now - self._opened_at > MAX_CONNECTION_AGE_SECONDS:
            self.close()
        if self._http is None:
            if self._is_secure:
                self._ssl_context = self._ssl_context or ssl.create_default_context()
                self._http = http.client.HTTPSConnection(
                    self._host, self._port, timeout=self._timeout_seconds, context=self._ssl_context
                )
            else:
                self._http = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)
            self._opened_at = now
        return self._http


def _request(parcel: Parcel) -> tuple[str, str, bytes]:
    """Return the method, the path and the body."""
    if parcel.is_batch:
        events = b",".join([item.body for item in parcel.items])
        return "POST", _TRACK, b'{"sent_at":"%b","batch":[%b]}' % (iso_time().encode(), events)
    item = parcel.items[0]
    if item.kind == "session":
        return "POST", _SESSION, _with_sent_at(item)
    path = f"{_SESSION}/{quote(item.session_id, safe='')}"
    return ("DELETE", path, b"") if item.kind == "expire" else ("POST", f"{path}/flush", b"")


def _with_sent_at(item: Item) -> bytes:
    return b'{"sent_at":"%b",%b' % (iso_time().encode(), item.body[1:])
