"""What the collector serves that never changes: the script, the pages and the description of the API."""

import gzip
import hashlib
from importlib import resources
from typing import Final

import orjson

from tracker.collect.api import openapi
from tracker.collect.http.messages import JSON, Request, Response
from tracker.collect.http.reply import Handler, Reply
from tracker.settings import Settings

#: Browsers may keep these this long without asking.
STATIC_MAX_AGE_SECONDS: Final = 60
#: And so long while they ask again behind the page's back.
STATIC_STALE_SECONDS: Final = 86_400
ETAG_CHARS: Final = 32


def static(name: str, content_type: str) -> Handler:
    """Return an endpoint for one of the package's own files, read once."""
    body = resources.files("tracker.collect").joinpath("static", name).read_bytes()
    return unchanging(body, f"{content_type}; charset=utf-8")


def described(settings: Settings) -> Handler:
    """Return an endpoint for the API's description, made once."""
    document = openapi.document(
        max_body_bytes=settings.collect_max_body_bytes, default_timeout_seconds=settings.session_timeout_seconds
    )
    return unchanging(orjson.dumps(document), JSON)


def unchanging(body: bytes, content_type: str) -> Handler:
    """Return an endpoint that always gives the same: packed once for who takes gzip, nothing for who has it."""
    kept = [
        ("Cache-Control", f"public, max-age={STATIC_MAX_AGE_SECONDS}, stale-while-revalidate={STATIC_STALE_SECONDS}"),
        ("Vary", "Accept-Encoding"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    mark = hashlib.sha256(body).hexdigest()[:ETAG_CHARS]
    plain = (f'"{mark}"', body, kept)
    packed = (f'"{mark}-gzip"', gzip.compress(body, 9, mtime=0), [*kept, ("Content-Encoding", "gzip")])

    def serve(request: Request) -> Response:
        etag, content, headers = packed if _takes_gzip(request.headers.get("Accept-Encoding", "")) else plain
        if _has(etag, request.headers.get("If-None-Match", "")):
            return Response(304, headers=[*kept, ("ETag", etag)])
        return Response(200, content, content_type=content_type, headers=[*headers, ("ETag", etag)])

    return lambda request: Reply.now(serve(request))


def _takes_gzip(accepted: str) -> bool:
    for each in accepted.lower().split(","):
        name, _, weight = each.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _has(etag: str, known: str) -> bool:
    """Return whether a client has this already. Proxies that pack by themselves mark it as weak."""
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    return etag in tags or "*" in tags
