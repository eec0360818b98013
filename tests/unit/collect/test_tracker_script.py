"""The scripts that pages load: small, made from the sources in ``sdk/``, and served so that any page may load them."""

import base64
import gzip
import hashlib
import re
from pathlib import Path

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from tracker.collect.api.pages import script_routes
from tracker.collect.api.script_files import newest_scripts, pinned_scripts, read_build, snippet
from tracker.collect.bug_ids import REFUSED_BEGINNINGS, REFUSED_IDS
from tracker.collect.http.messages import Request

PROJECT_DIR = Path(__file__).parents[3]
SOURCES = PROJECT_DIR / "sdk/src"
BUILD = read_build()

MAX_GZIPPED_BYTES = 5_632


def served(address: str, routes=None) -> dict[str, str]:
    [route] = [route for route in routes or script_routes() if route.pattern == address]
    endpoint = route.endpoint("GET")
    assert endpoint is not None
    request = Request("GET", address, "", CIMultiDictProxy(CIMultiDict()), b"", "127.0.0.1")
    return dict(endpoint(request).respond().headers)


@pytest.mark.parametrize("name", ["tracker.js", "tracker.mjs"])
def test_it_is_at_most_5_and_a_half_kilobytes_gzipped(name: str) -> None:
    assert len(gzip.compress(newest_scripts()[f"/{name}"], compresslevel=9)) <= MAX_GZIPPED_BYTES


def test_it_was_built_after_its_sources_changed_last() -> None:
    sources = sorted(SOURCES.iterdir(), key=lambda path: path.name)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    assert digest.hexdigest() == BUILD.sources, "run: make sdk"


@pytest.mark.parametrize("name", ["tracker.js", "tracker.mjs"])
def test_its_hash_is_that_of_the_file(name: str) -> None:
    digest = hashlib.sha384(newest_scripts()[f"/{name}"]).digest()
    assert BUILD.integrity[name] == f"sha384-{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize("address", ["/tracker.js", "/tracker.mjs", BUILD.address("tracker.js")])
def test_pages_of_any_origin_may_load_it(address: str) -> None:
    headers = served(address)
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_only_the_address_with_a_version_is_kept_for_ever() -> None:
    assert "immutable" in served(BUILD.address("tracker.js"))["Cache-Control"]
    assert "immutable" not in served("/tracker.js")["Cache-Control"]


def test_a_version_that_pages_have_pinned_is_served_after_an_upgrade_too(tmp_path: Path) -> None:
    for name in ("tracker.js", "tracker.mjs", "tracker-0.1.9.js", "stub.js", "demo.html"):
        (tmp_path / name).write_text(name)
    (tmp_path / "tracker.json").write_bytes(
        b'{"version": "0.2.0", "sources": "", "integrity": {"tracker.js": "", "tracker.mjs": ""}}'
    )
    assert set(newest_scripts(tmp_path)) == {"/tracker.js", "/tracker.mjs"}
    assert set(pinned_scripts(tmp_path)) == {"/tracker-0.1.9.js", "/tracker-0.2.0.js", "/tracker-0.2.0.mjs"}
    assert "immutable" in served("/tracker-0.1.9.js", script_routes(tmp_path))["Cache-Control"]


def test_the_snippet_pins_the_script_by_its_hash_and_quotes_what_it_is_given() -> None:
    told = snippet("https://collect.example.com/", key='"><script>', nonce="n1")
    queue, script = told.split("\n")
    assert queue.startswith('<script nonce="n1">')
    assert "window.tracker" in queue
    assert f'src="https://collect.example.com/tracker-{BUILD.version}.js"' in script
    assert f'integrity="{BUILD.integrity["tracker.js"]}" crossorigin="anonymous"' in script
    assert 'data-key="&quot;&gt;&lt;script&gt;"' in script
    assert "integrity" not in snippet("https://collect.example.com", is_pinned=False)


@pytest.mark.parametrize("value", [*sorted(REFUSED_IDS), *(f"{start} x" for start in sorted(REFUSED_BEGINNINGS))])
def test_the_script_leaves_out_each_id_that_the_collector_refuses(value: str) -> None:
    found = re.search(r"^const BUG = /(.*)/i;$", (SOURCES / "values.js").read_text(), re.MULTILINE)
    assert found is not None
    assert re.search(found[1], value, re.IGNORECASE)


@pytest.mark.parametrize(
    "value", ["0", "u-1", "nullable", "Nanette", "user@host", "#1", "[1]", "漢字", "Null-Byte", "(me)"]
)
def test_the_script_takes_ids_that_only_look_like_bugs(value: str) -> None:
    found = re.search(r"^const BUG = /(.*)/i;$", (SOURCES / "values.js").read_text(), re.MULTILINE)
    assert found is not None
    assert not re.search(found[1], value, re.IGNORECASE)


@pytest.mark.parametrize("page", ["README.md", "docs/tracker-js.md"])
def test_the_documented_snippet_is_the_one_that_is_printed(page: str) -> None:
    queue = snippet("https://collect.example.com").split("\n")[0]
    assert queue in (PROJECT_DIR / page).read_text()


def test_the_documented_hash_is_that_of_the_script() -> None:
    documented = re.findall(r"sha384-[A-Za-z0-9+/=]+", (PROJECT_DIR / "docs/tracker-js.md").read_text())
    assert set(documented) == {BUILD.integrity["tracker.js"]}
