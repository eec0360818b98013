"""What the collector serves that never changes: the script, the pages and the description of the API."""

from collections.abc import Callable
from importlib import resources
from typing import Final

import orjson

from tracker.collect import openapi
from tracker.collect.messages import JSON, Request, Response
from tracker.settings import Settings

#: Browsers may keep these this long without asking.
STATIC_MAX_AGE_SECONDS: Final = 60

Unchanging = Callable[[Request], Response]


def static(name: str, content_type: str) -> Unchanging:
    """Return an endpoint for one of the package's own files, read once."""
    body = resources.files("tracker.collect").joinpath("static", name).read_bytes()
    return unchanging(body, f"{content_type}; charset=utf-8")


def described(settings: Settings) -> Unchanging:
    """Return an endpoint for the API's description, made once."""
    document = openapi.document(
        max_body_bytes=settings.collect_max_body_bytes, default_timeout_seconds=settings.session_timeout_seconds
    )
    return unchanging(orjson.dumps(document), JSON)


def unchanging(body: bytes, content_type: str) -> Unchanging:
    """Return an endpoint that always gives the same."""
    headers = [("Cache-Control", f"max-age={STATIC_MAX_AGE_SECONDS}"), ("X-Content-Type-Options", "nosniff")]

    def serve(_: Request) -> Response:
        return Response(200, body, content_type=content_type, headers=list(headers))

    return serve
