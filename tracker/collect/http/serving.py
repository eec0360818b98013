"""What a connection and its server agree upon: limits, and what each asks of the other."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from tracker.collect.http.messages import Answer, Request

#: From a request's first byte to its last.
REQUEST_TIMEOUT_SECONDS: Final = 10.0
#: A client that does not take its answers is given up after this.
WRITE_TIMEOUT_SECONDS: Final = 10.0
#: What a refused client still sends is read and dropped this long, so that it gets to see its answer.
LINGER_SECONDS: Final = 1.0

#: Answers at once or later, and never with an error.
Handler = Callable[[Request], Answer]


class Server(Protocol):
    """What a connection needs of the server that has accepted it."""

    handle: Handler
    max_body_bytes: int
    date: str
    is_stopping: bool
    #: Told the status of what the application never sees.
    on_refused: Callable[[int], None]

    def joined(self, connection: Any) -> bool:
        """Take a connection in; False if there are too many."""

    def left(self, connection: Any) -> None:
        """Forget a connection that is closed."""
