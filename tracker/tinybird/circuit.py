"""Whether a datasource answers. While it does not, one request keeps trying and all others wait for its word."""

import asyncio
from typing import Final, Literal

from tracker.tinybird import metrics

State = Literal["closed", "throttled", "open"]
STATES: Final[tuple[State, ...]] = ("closed", "throttled", "open")


class Circuit:
    """*closed*: it answers. *throttled*: it says that we are too fast. *open*: it fails, or does not answer."""

    def __init__(self, datasource: str) -> None:
        self._datasource = datasource
        self._answers = asyncio.Event()
        self._is_tried = False
        self.state: State = "closed"
        self.answered()

    async def wait_until_closed(self) -> None:
        """Wait while requests would be in vain."""
        await self._answers.wait()

    def trip(self, *, is_throttling: bool) -> bool:
        """Note a failure. True if the caller is the one that has to go on trying, and to say ``give_up`` at its end."""
        self._enter("throttled" if is_throttling else "open")
        if self._is_tried:
            return False
        self._is_tried = True
        return True

    def answered(self) -> None:
        """Note an answer that was none of failure: everybody may go on."""
        self._enter("closed")

    def give_up(self) -> None:
        """Stop being the one that tries, whether it was answered or not."""
        self._is_tried = False
        self._answers.set()

    def _enter(self, state: State) -> None:
        self.state = state
        if state == "closed":
            self._answers.set()
        else:
            self._answers.clear()
        for name in STATES:
            metrics.CIRCUIT.labels(self._datasource, name).set(name == state)
