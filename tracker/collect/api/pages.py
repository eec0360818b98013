"""What the collector serves that never changes: the script, the pages and the description of the API."""

import base64
import gzip
import hashlib
import re
from importlib.resources.abc import Traversable
from typing import Final

import orjson

from tracker.collect.api.openapi.document import document
from tracker.collect.api.routes import Route
from tracker.collect.api.script_files import STATIC, newest_scripts, pinned_scripts
from tracker.collect.http.messages import JSON, Headers, Request, Response
from tracker.collect.http.reply import Handler, Reply
from tracker.settings import Settings

#: Browsers may keep these this long without asking.
STATIC_MAX_AGE_SECONDS: Final = 60
#: And so long while they ask again behind the page's back.
STATIC_STALE_SECONDS: Final = 86_400
ASKED_AGAIN: Final = f"public, max-age={STATIC_MAX_AGE_SECONDS}, stale-while-revalidate={STATIC_STALE_SECONDS}"
#: For files that never change under their address. Caches treat a year as for ever.
FOR_EVER: Final = "public, max-age=31536000, immutable"
#: Pages of any origin may load it: by an integrity hash, as a module, and under a cross-origin embedder policy.
FOR_ANY_PAGE: Final = (("Access-Control-Allow-Origin", "*"), ("Cross-Origin-Resource-Policy", "cross-origin"))
ETAG_CHARS: Final = 32
HTML: Final = "text/html"

_INLINE_SCRIPT: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


def static(name: str, content_type: str) -> Handler:
    """Return an endpoint for one of the package's own files, read once."""
    body = STATIC.joinpath(name).read_bytes()
    more = guards_of(body) if content_type == HTML else ()
    return unchanging(body, f"{content_type}; charset=utf-8", more=more)


def guards_of(page: bytes) -> Headers:
    """Return headers that keep a page from running other scripts than its own, and from being shown in a frame."""
    hashes = (base64.b64encode(hashlib.sha256(script).digest()).decode() for script in _INLINE_SCRIPT.findall(page))
    scripts = " ".join(["'self'", *(f"'sha256-{each}'" for each in hashes)])
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return (("Content-Security-Policy", policy), ("X-Frame-Options", "DENY"))


def script_routes(directory: Traversable = STATIC) -> list[Route]:
    """Return the routes of all scripts for pages: the newest script, and each version under its versioned address."""
    newest = ((address, body, ASKED_AGAIN) for address, body in newest_scripts(directory).items())
    pinned = ((address, body, FOR_EVER) for address, body in pinned_scripts(directory).items())
    return [
        Route(address, {"GET": unchanging(body, "text/javascript; charset=utf-8", cache_control, FOR_ANY_PAGE)})
        for address, body, cache_control in (*newest, *pinned)
    ]


def described(settings: Settings) -> Handler:
    """Return an endpoint for the API's description, made once."""
    described_api = document(
        max_body_bytes=settings.collect_max_body_bytes, default_timeout_seconds=settings.session_timeout_seconds
    )
    return unchanging(orjson.dumps(described_api), JSON)


def unchanging(body: bytes, content_type: str, cache_control: str = ASKED_AGAIN, more: Headers = ()) -> Handler:
    """Return an endpoint that always sends the same body: gzipped for clients that take it, 304 for those that have it.

    ``more`` are headers besides those about caches.
    """
    kept = [
        ("Cache-Control", cache_control),
        ("Vary", "Accept-Encoding"),
        ("X-Content-Type-Options", "nosniff"),
        *more,
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
