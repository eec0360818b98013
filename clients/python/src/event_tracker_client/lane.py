"""A queue with the thread and the connection that empty it."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from event_tracker_client.answers import Answer
from event_tracker_client.items import Item, Undelivered
from event_tracker_client.outbox import Limits, Outbox, Parcel

log = logging.getLogger("event_tracker_client")


class Sender(Protocol):
    """What sends parcels."""

    def send(self, parcel: Parcel) -> Answer:
        """Send a parcel and return the answer."""

    def close(self) -> None:
        """Let go of what is held open."""


class Lane:
    """Safe for any number of threads. The thread that sends is a daemon: it never keeps a process alive."""

    def __init__(
        self,
        limits: Limits,
        sender: Sender,
        report: Callable[[Sequence[Undelivered]], None],
        jitter: Callable[[], float],
        *,
        wait_when_full_ms: int = 0,
        now_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        """Start nothing yet: the thread begins with the first item. ``report`` hears of everything that is given up."""
        self._limits = limits
        self._sender = sender
        self._report = report
        self._jitter = jitter
        self._wait_when_full_ms = wait_when_full_ms
        self.now_ms = now_ms
        self._is_stopped = False
        self._is_failing = False
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew, as a child process has to: what waits is the parent's to send, and threads are not copied."""
        self._changed = threading.Condition()
        self._outbox = Outbox(self._limits, self._jitter)
        if self._is_stopped:
            self._outbox.close()
        self._thread: threading.Thread | None = None
        self._is_reporting = False
        self._sender.close()

    @property
    def waiting(self) -> int:
        """Items without an answer."""
        return len(self._outbox)

    @property
    def delivered(self) -> int:
        """Items that were taken."""
        return self._outbox.delivered

    def put(self, item: Item) -> None:
        """Queue an item, or report why that can't be."""
        with self._changed:
            refusal = self._outbox.put(item)
            if refusal is not None and refusal.code == "queue_full" and self._wait_when_full_ms:
                refusal = self._put_when_there_is_room(item, refusal)
            if refusal is None and (len(self._outbox) == 1 or self._outbox.is_due(self.now_ms())):
                self._wake()
        if refusal is not None:
            self._report([refusal])

    def begin_flush(self) -> int:
        """Have all that waits sent without waiting for more; return a number to ``wait`` for."""
        with self._changed:
            number = self._outbox.flush()
            self._wake()
        return number

    def wait(self, number: int, deadline: float | None) -> None:
        """Wait until all up to a number is delivered, or given up and reported; at most until the deadline.

        The deadline is one of ``time.monotonic``. A callback that hears of a report can't wait for its own end.
        """
        if threading.current_thread() is self._thread:
            return
        with self._changed:
            left_seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._changed.wait_for(lambda: self._outbox.done_up_to >= number and not self._is_reporting, left_seconds)

    def hurry(self) -> None:
        """Try at once what failed, unless the collector has asked for a pause."""
        with self._changed:
            self._outbox.hurry()
            self._changed.notify_all()

    def close(self) -> int:
        """Give up what waits, take nothing more, end the thread; return how many items were given up."""
        with self._changed:
            rest = self._outbox.close()
            self._is_stopped = True
            self._changed.notify_all()
        if rest:
            self._report(rest)
        return len(rest)

    def _put_when_there_is_room(self, item: Item, refusal: Undelivered) -> Undelivered | None:
        last: list[Undelivered | None] = [refusal]

        def is_settled() -> bool:
            last[0] = self._outbox.put(item)
            return last[0] is None or last[0].code != "queue_full"

        self._wake()
        self._changed.wait_for(is_settled, self._wait_when_full_ms / 1_000)
        return last[0]

    def _wake(self) -> None:
        """Tell the thread that something has changed; start it if there is none."""
        if self._thread is None and not self._is_stopped and len(self._outbox):
            thread = threading.Thread(target=self._run, name="event-tracker-client", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # too many threads, or the interpreter is shutting down
                log.warning("can't send to the tracker: %s", error)
            else:
                self._thread = thread
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            parcel = self._next_parcel()
            if parcel is None:
                self._sender.close()
                return
            answer = self._send(parcel)
            with self._changed:
                given_up = self._outbox.settle(parcel, answer, self.now_ms())
                self._note(answer)
                self._is_reporting = bool(given_up)
                self._changed.notify_all()
            if given_up:
                self._report(given_up)
                with self._changed:
                    self._is_reporting = False
                    self._changed.notify_all()

    def _send(self, parcel: Parcel) -> Answer:
        try:
            return self._sender.send(parcel)
        except Exception as error:  # a bug must not end the thread: it is tried again, and given up in the end
            log.exception("a bug of event_tracker_client")
            return Answer(None, error=f"a bug: {type(error).__name__}")

    def _next_parcel(self) -> Parcel | None:
        """Wait until there is something to send; None: the lane is closed."""
        with self._changed:
            while not self._is_stopped:
                now_ms = self.now_ms()
                parcel = self._outbox.take(now_ms)
                if parcel is not None:
                    return parcel
                due_at_ms = self._outbox.due_at_ms()
                self._changed.wait(None if due_at_ms is None else (due_at_ms - now_ms) / 1_000)
            return None

    def _note(self, answer: Answer) -> None:
        """Log when sending begins to fail, and when it works again: a line each."""
        was_failing, self._is_failing = self._is_failing, self._outbox.is_failing
        if self._is_failing and not was_failing:
            log.warning("the tracker takes nothing now: %s; %d items wait", answer.reason, len(self._outbox))
        elif was_failing and not self._is_failing:
            log.warning("the tracker takes events again; %d items wait", len(self._outbox))
