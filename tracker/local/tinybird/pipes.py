"""Reads Tinybird's ``.pipe`` files as far as this project uses the format: one node, an endpoint.

A pipe may read from another pipe as from a table (``FROM other_pipe``); the parameters of a request are those of both.
"""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracker.errors import ConfigurationError

_INSTRUCTION: Final = re.compile(r"^(?P<name>[A-Z_]+)\s*(?P<rest>.*)$")
#: Each may be there once.
_KNOWN: Final = frozenset({"TOKEN", "DESCRIPTION", "NODE", "SQL", "TYPE"})
#: What a query reads from: a table, a pipe, or a name that its own WITH has given.
_SOURCE: Final = re.compile(r"\b(FROM|JOIN)(\s+)([A-Za-z_]\w*)\b")


@dataclass(frozen=True, slots=True)
class Pipe:
    """An endpoint: its SQL template."""

    name: str
    template: str


def read_pipes(project_dir: Path) -> dict[str, Pipe]:
    """Read every pipe file of a Tinybird project, by name. There may be none.

    Raises:
        ConfigurationError: one can't be understood; names the file and the line.
    """
    files = sorted((project_dir / "pipes").glob("*.pipe"))
    return {file.stem: parse_pipe(file.stem, file.read_text()) for file in files}


def whole_template(name: str, pipes: Mapping[str, Pipe], readers: tuple[str, ...] = ()) -> str:
    """Return a pipe's template with the templates of the pipes that it reads from in their places.

    They are put in before any value is: the text of a parameter never becomes the name of a pipe.

    Raises:
        ConfigurationError: a pipe reads from itself, directly or through others.
    """
    readers = (*readers, name)

    def replace(source: re.Match[str]) -> str:
        keyword, space, read = source.groups()
        if read not in pipes:
            return source[0]
        if read in readers:
            raise ConfigurationError(f"{read}.pipe reads from itself: {' reads '.join((*readers, read))}")
        return f"{keyword}{space}(\n{whole_template(read, pipes, readers)}\n) AS {read}"

    return _SOURCE.sub(replace, pipes[name].template.removeprefix("%\n"))


def parse_pipe(name: str, text: str) -> Pipe:
    """Parse the text of one file; its name is the pipe's.

    Raises:
        ConfigurationError: on anything that this parser does not know; names the line.
    """
    found: dict[str, list[str]] = {}
    block: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line[0].isspace():
            block.append(line)
            continue
        match = _INSTRUCTION.match(line)
        if match is None or match["name"] not in _KNOWN or match["name"] in found:
            raise ConfigurationError(f"{name}.pipe:{number}: not known to the local Tinybird: {line.strip()}")
        block = found[match["name"]] = [] if match["rest"] == ">" else [match["rest"]]
    if "SQL" not in found or [word.strip() for word in found.get("TYPE", [])][:1] != ["endpoint"]:
        raise ConfigurationError(f"{name}.pipe: one node with SQL and TYPE endpoint is what the local Tinybird serves")
    return Pipe(name, textwrap.dedent("\n".join(found["SQL"])).strip())
