"""Inner pages: for clients on this machine, or for those that present the shared secret; probes are told yes or no."""

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr, ValidationError

from tracker.collect.run.exposure import check_exposure
from tracker.errors import ConfigurationError
from tracker.local.ports import LOOPBACK, free_port
from tracker.observe.internal_token import InternalToken, check_inner_port, is_local_name, is_loopback
from tracker.observe.pages import serving
from tracker.settings import Settings
from tracker.settings.environment import error_lines

SECRET = "s3cret-of-all-stages"
NONE, TOKEN = InternalToken(""), InternalToken(SECRET)
PATHS = ("/healthz", "/readyz", "/metrics", "/session/visitor-1", "/elsewhere")


def not_ready() -> web.Response:
    return web.json_response({"status": "unavailable", "problems": ["kafka-7.internal is away"]}, status=503)


async def session(_: web.Request) -> web.Response:
    return web.json_response({"user_id": "u-1"})


async def answers(token: InternalToken, **headers: str) -> dict[str, tuple[int, str]]:
    port, found = free_port(), {}
    pages = {
        "/healthz": lambda: web.json_response({"status": "ok", "partitions": 7}),
        "/readyz": not_ready,
        "/metrics": lambda: web.Response(text="tracker_up 1"),
    }
    request_pages = {"/session/{id}": session}
    async with (
        serving(pages, LOOPBACK, port, token=token, port_setting="PORT", request_pages=request_pages),
        aiohttp.ClientSession(f"http://{LOOPBACK}:{port}") as http,
    ):
        for path in PATHS:
            async with http.get(path, headers=headers) as answer:
                found[path] = answer.status, await answer.text()
    return found


@pytest.mark.parametrize(("token", "headers"), [(NONE, {}), (NONE, {"Host": "localhost:6066"}), (TOKEN, TOKEN.headers)])
async def test_who_is_known_sees_everything(token, headers):
    found = await answers(token, **headers)
    assert [found[path][0] for path in PATHS] == [200, 503, 200, 200, 404]
    assert "kafka-7.internal" in found["/readyz"][1]
    assert '"partitions": 7' in found["/healthz"][1]
    assert "u-1" in found["/session/visitor-1"][1]


STRANGERS = [
    (TOKEN, {}),
    (TOKEN, {"Authorization": SECRET}),
    (TOKEN, {"Authorization": f"Bearer {SECRET}x"}),
    (TOKEN, {"Authorization": f"Bearer {SECRET[:-1]}"}),
    (TOKEN, {"Authorization": "Bearer "}),
    (TOKEN, {"Authorization": "Bearer gehé im"}),
    # A page elsewhere whose own name was made to lead to this machine.
    (NONE, {"Host": "rebound.example:6066"}),
    (NONE, {"Host": "rebound.example", **TOKEN.headers}),
]


@pytest.mark.parametrize(("token", "headers"), STRANGERS)
async def test_strangers_are_told_yes_or_no_by_probes_and_nothing_else(token, headers):
    found = await answers(token, **headers)
    assert [found[path][0] for path in PATHS] == [200, 503, 401, 401, 401]
    assert found["/healthz"][1] == '{"status": "ok"}'
    assert found["/readyz"][1] == '{"status": "unavailable"}'
    assert not [path for path in PATHS if "u-1" in found[path][1] or "tracker_up" in found[path][1]]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "", "worker.internal"])
async def test_an_open_bind_without_the_secret_is_refused_and_says_what_to_set(host):
    with pytest.raises(ConfigurationError, match="TRACKER_INTERNAL_TOKEN"):
        async with serving({}, host, 6066, token=NONE, port_setting="PORT"):
            pass
    check_inner_port(host, 6066, TOKEN)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_this_machine_needs_no_secret(host):
    assert is_loopback(host)
    check_inner_port(host, 6066, NONE)


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("localhost", True),
        ("LocalHost:8000", True),
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("[::1]", True),
        ("", False),
        ("localhost.example", False),
        ("192.168.0.4:8000", False),
        ("[2001:db8::1]:8000", False),
    ],
)
def test_a_host_header_names_this_machine_or_not(host, is_local):
    assert is_local_name(host) is is_local


def test_a_collector_does_not_show_its_metrics_to_everybody():
    settings = Settings(_env_file=None, collect_metrics_host="0.0.0.0")
    with pytest.raises(ConfigurationError, match=r"0\.0\.0\.0:6065.*TRACKER_INTERNAL_TOKEN"):
        check_exposure(settings)
    check_exposure(settings.model_copy(update={"internal_token": SecretStr(SECRET)}))


def test_the_secret_is_what_the_settings_say_and_is_shown_nowhere():
    settings = Settings(_env_file=None, internal_token=SECRET)
    token = InternalToken.of(settings)
    assert token.headers == {"Authorization": f"Bearer {SECRET}"}
    assert token.is_presented(f"Bearer {SECRET}")
    assert SECRET not in repr(settings)
    assert (NONE.is_set, NONE.headers, NONE.is_presented(""), NONE.is_presented("Bearer ")) == (False, {}, False, False)


@pytest.mark.parametrize(
    "secret", ["short", "fifteen-chars-1", "with a space in between", "ümlauts-in-the-secret", "x" * 257]
)
def test_a_secret_that_is_short_or_fits_into_no_header_is_refused(secret):
    with pytest.raises(ValidationError) as caught:
        Settings(_env_file=None, internal_token=secret)
    (line,) = error_lines(caught.value)
    assert line.startswith("TRACKER_INTERNAL_TOKEN: ")
    assert secret not in line
    assert Settings(_env_file=None, internal_token="x" * 16).internal_token.get_secret_value() == "x" * 16
