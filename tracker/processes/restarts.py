"""How long a parent waits before it starts a child again."""

from typing import Final

#: A child that ends by itself is started again at once; if it ends again and again, after a wait that doubles.
FIRST_BACKOFF_SECONDS: Final = 0.1
MAX_BACKOFF_SECONDS: Final = 5.0
#: A child that has lived so long has not failed at its start.
SOUND_SECONDS: Final = 30.0


class Restarts:
    """The waits before one child's restarts."""

    def __init__(self) -> None:
        self._next_seconds = FIRST_BACKOFF_SECONDS

    def wait_seconds(self, lived_seconds: float) -> float:
        """Return how long to wait now that a child has ended that has lived for so long."""
        if lived_seconds > SOUND_SECONDS:
            self._next_seconds = FIRST_BACKOFF_SECONDS
        wait_seconds = self._next_seconds
        self._next_seconds = min(2 * wait_seconds, MAX_BACKOFF_SECONDS)
        return wait_seconds
