"""A landing page that shows one of two headlines, opens a session for it, and tracks the conversion.

    pip install aiohttp
    COLLECT_URL=http://127.0.0.1:8080 python landing_page.py    # then open http://127.0.0.1:8000/

The session is known to both requests by a cookie of the page's own. The variant is derived from it, so a visitor
always sees the same one, and every event of the session carries it without being told.
"""

import hashlib
import os
import uuid

import aiohttp
from aiohttp import web

COLLECT_URL = os.environ.get("COLLECT_URL", "http://127.0.0.1:8080")
WRITE_KEY = os.environ.get("WRITE_KEY", "")
COOKIE = "landing_session"
HEADLINES = {"a": "Save time", "b": "Save money"}

TRACKER = web.AppKey("tracker", aiohttp.ClientSession)


def variant_of(session_id: str) -> str:
    """Half of all sessions see "a"; no list of who saw what is needed."""
    return "ab"[hashlib.sha256(session_id.encode()).digest()[0] % 2]


async def tell(request: web.Request, path: str, body: dict[str, object]) -> None:
    """Tell the tracker, which has it for certain once it has answered 202. The page goes on either way."""
    headers = {"User-Agent": request.headers.get("User-Agent", "")}
    if WRITE_KEY:
        headers["X-Write-Key"] = WRITE_KEY
    try:
        async with request.app[TRACKER].post(COLLECT_URL + path, json=body, headers=headers) as answer:
            if answer.status != 202:
                request.app.logger.warning("not tracked: %s %s", answer.status, await answer.text())
    except (aiohttp.ClientError, TimeoutError) as error:
        request.app.logger.warning("not tracked: %r", error)


async def landing(request: web.Request) -> web.Response:
    session_id = request.cookies.get(COOKIE) or str(uuid.uuid4())
    variant = variant_of(session_id)
    context = {"landing_page_id": "spring", "ab_test_id": "headline", "ab_test_variant_id": variant}
    await tell(request, "/api/v1/events/session", {"session_id": session_id, "page_url": str(request.url), **context})
    page = f'<h1>{HEADLINES[variant]}</h1><form method="post" action="/order"><button>Order</button></form>'
    answer = web.Response(text=page, content_type="text/html")
    answer.set_cookie(COOKIE, session_id, httponly=True, samesite="Lax", max_age=1_800)
    return answer


async def order(request: web.Request) -> web.Response:
    session_id = request.cookies.get(COOKIE)
    if session_id is None:
        raise web.HTTPFound("/")
    order_id = uuid.uuid4()
    # The event's id is the order's: told twice, it is counted once.
    event = {"event_type": "conversion", "event_id": f"order-{order_id}", "event_value": "49.90"}
    await tell(request, "/api/v1/events/track", {"session_id": session_id, "event_value_type": "EUR", **event})
    return web.Response(text=f"Thank you for order {order_id}")


async def tracker_client(app: web.Application):
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as client:
        app[TRACKER] = client
        yield


def main() -> None:
    app = web.Application()
    app.cleanup_ctx.append(tracker_client)
    app.router.add_get("/", landing)
    app.router.add_post("/order", order)
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")))


if __name__ == "__main__":
    main()
