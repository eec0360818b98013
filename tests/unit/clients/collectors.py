"""A collector on a real socket that gives the answers it was told to, in order, and then takes everything."""

import gzip
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.patience import PATIENCE_SECONDS


@dataclass(frozen=True)
class Request:
    """One request as it came, unpacked."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    #: Which connection it came on.
    peer: tuple[str, int]

    @property
    def events(self) -> list[dict[str, Any]]:
        return self.body.get("batch", [])


#: Status, headers, body; None: the connection is closed without an answer.
Answer = tuple[int, dict[str, str], dict[str, Any]] | None


@dataclass
class Collector:
    """What came in. ``answers`` come first; requests wait while ``passing`` is unset."""

    url: str = ""
    answers: deque[Callable[[Request], Answer]] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    passing: threading.Event = field(default_factory=threading.Event)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def answer(self, request: Request) -> Answer:
        with self.changed:
            self.requests.append(request)
            self.changed.notify_all()
            answer = self.answers.popleft() if self.answers else take
        assert self.passing.wait(PATIENCE_SECONDS)
        return answer(request)

    def until(self, requests: int) -> None:
        """Wait until so many requests have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= requests, PATIENCE_SECONDS), self.requests

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.requests for event in request.events]


def take(request: Request) -> Answer:
    """202, each event accepted."""
    ids = [{"session_id": event["session_id"], "event_id": event["event_id"]} for event in request.events]
    results = [{"index": index, "status": "accepted", **each} for index, each in enumerate(ids)]
    return 202, {}, {"results": results} if request.events else {"session_id": "s"}


def status(code: int, error: str = "", **headers: str) -> Callable[[Request], Answer]:
    """An error without verdicts."""
    body = {"error": {"code": error, "message": "no", "reasons": [f"because of {error}"]}} if error else {}
    return lambda _: (code, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def no_answer(_: Request) -> Answer:
    """The connection is closed."""
    return None


def reject(*event_ids: str) -> Callable[[Request], Answer]:
    """202 (400 where all are bad), with these events refused."""

    def answer(request: Request) -> Answer:
        taken = take(request)
        assert taken is not None
        _, headers, body = taken
        for result in body["results"]:
            if result["event_id"] in event_ids:
                result.update(status="rejected", reasons=["event_value: too long"])
        is_all = all(result["status"] == "rejected" for result in body["results"])
        return 400 if is_all else 202, headers, body

    return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            raw = gzip.decompress(raw)
        request = Request(
            self.command, self.path, dict(self.headers), json.loads(raw) if raw else {}, self.client_address
        )
        answer = self.server.collector.answer(request)  # type: ignore[attr-defined]
        if answer is None:
            self.close_connection = True
            return
        code, headers, fields = answer
        body = json.dumps(fields).encode()
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = _serve  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running_collector() -> Iterator[Collector]:
    collector = Collector()
    collector.passing.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.collector = collector  # type: ignore[attr-defined]
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield collector
    finally:
        collector.passing.set()
        server.shutdown()
        thread.join()
        server.server_close()
