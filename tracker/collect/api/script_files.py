"""The scripts for pages: which files there are, under which addresses, and what a page has to say to load one.

``sdk/build.mjs`` writes the files, and ``tracker.json`` next to them. ``/tracker.js`` is always the newest. An address
with a version never changes its content, so a page may pin it by its hash; those of earlier releases stay.
"""

import html
import re
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

import orjson

STATIC: Final = resources.files("tracker.collect").joinpath("static")

_RELEASED: Final = re.compile(r"tracker-[0-9][0-9A-Za-z.+-]*\.m?js")


class Build(NamedTuple):
    """What ``sdk/build.mjs`` says of the scripts that it has made."""

    version: str
    #: SHA-256 of the sources, in hexadecimal digits.
    sources: str
    #: What a script tag's ``integrity`` has to be, for each file.
    integrity: dict[str, str]

    def address(self, name: str) -> str:
        """Return the address under which the content of a file never changes, such as ``/tracker-0.2.0.js``."""
        return "/" + name.replace(".", f"-{self.version}.", 1)


def read_build(directory: Traversable = STATIC) -> Build:
    """Return the version and the hashes of the scripts in a folder."""
    return Build(**orjson.loads(directory.joinpath("tracker.json").read_bytes()))


def newest_scripts(directory: Traversable = STATIC) -> dict[str, bytes]:
    """Return the content of the newest scripts by their addresses."""
    return {f"/{name}": directory.joinpath(name).read_bytes() for name in read_build(directory).integrity}


def pinned_scripts(directory: Traversable = STATIC) -> dict[str, bytes]:
    """Return the content of the newest and of all earlier scripts by their addresses with a version."""
    build = read_build(directory)
    earlier = {f"/{file.name}": file.read_bytes() for file in directory.iterdir() if _RELEASED.fullmatch(file.name)}
    return earlier | {build.address(name): directory.joinpath(name).read_bytes() for name in build.integrity}


def snippet(endpoint: str, key: str = "", nonce: str = "", *, is_pinned: bool = True) -> str:
    """Return the HTML that a page needs: a queue for calls, and the script that takes them over.

    ``endpoint`` is the collector's origin. A page whose script is late or blocked can call the tracker all the same.
    """
    build = read_build()
    attributes = {"nonce": nonce, "src": endpoint.rstrip("/") + "/tracker.js"}
    if is_pinned:
        attributes["src"] = endpoint.rstrip("/") + build.address("tracker.js")
        attributes |= {"integrity": build.integrity["tracker.js"], "crossorigin": "anonymous"}
    attributes["data-key"] = key
    stub = STATIC.joinpath("stub.js").read_text().strip()
    return f"<script{_html({'nonce': nonce})}>{stub}</script>\n<script async{_html(attributes)}></script>"


def _html(attributes: dict[str, str]) -> str:
    return "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items() if value)
