"""The reply to a request: a future to wait for, and a function that makes the response after it."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Self

import msgspec

from tracker.collect.http.messages import Headers, Request, Response


class Reply(msgspec.Struct, frozen=True):
    """The one kind of value that a handler returns.

    Attributes:
        ready: Must end before the response can be made; None if it can be made at once. Several replies may share one
            future, so nobody may cancel it.
        respond: Makes the response, exactly once, when ``ready`` has ended.
        cors_headers: Go with the response or the error, whichever it is; None: not worked out yet.
    """

    ready: "asyncio.Future[Any] | None"
    respond: Callable[[], Response]
    cors_headers: Headers | None = None

    @classmethod
    def now(cls, response: Response) -> Self:
        """Reply at once."""
        return cls(None, lambda: response)

    @classmethod
    def when_done(cls, work: Coroutine[Any, Any, Response]) -> Self:
        """Reply with what a coroutine returns. It costs a task."""
        task = asyncio.get_running_loop().create_task(work)
        return cls(task, task.result)

    async def response(self) -> Response:
        """Wait for ``ready``, without cancelling it when this wait is cancelled, and return the response."""
        if self.ready is not None:
            await asyncio.wait((self.ready,))
        return self.respond()


#: Never raises: errors are responses, too.
Handler = Callable[[Request], Reply]
