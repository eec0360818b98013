"""Reads Tinybird's ``.datasource`` files: what this project uses of the format, and an error for the rest."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracker.errors import ConfigurationError
from tracker.project.files import tinybird_dir

#: `column` Type `json:$.column` DEFAULT expression
_COLUMN: Final = re.compile(
    r"^`?(?P<name>\w+)`?\s+(?P<type>[^`]+?)\s+`json:\$\.(?P<path>[^`]+)`(?:\s+DEFAULT\s+(?P<default>.+))?$"
)
_INSTRUCTION: Final = re.compile(r"^(?P<name>[A-Z_]+)\s*(?P<rest>.*)$")
_NAME: Final = re.compile(r"^[A-Za-z_]\w*$")
_REQUIRED: Final = ("SCHEMA", "ENGINE", "ENGINE_SORTING_KEY")
_OPTIONAL: Final = ("ENGINE_PARTITION_KEY", "ENGINE_VER")
#: They mean something to Tinybird's own servers only.
_IGNORED: Final = ("DESCRIPTION", "TOKEN")


@dataclass(frozen=True, slots=True)
class Column:
    """A column; its value is the row's top-level JSON key of the same name."""

    name: str
    type: str
    default: str | None = None

    @property
    def nullable(self) -> bool:
        """Whether NULL is a value of the column."""
        return "Nullable(" in self.type


@dataclass(frozen=True, slots=True)
class Datasource:
    """A table as its file describes it."""

    name: str
    columns: tuple[Column, ...]
    engine: str
    sorting_key: str
    partition_key: str | None = None
    version_column: str | None = None


def shipped_datasources() -> dict[str, Datasource]:
    """Return this project's own datasources by name, as they are installed with the package."""
    return {datasource.name: datasource for datasource in read_datasources(tinybird_dir())}


def read_datasources(project_dir: Path) -> tuple[Datasource, ...]:
    """Read every datasource file of a Tinybird project.

    Raises:
        ConfigurationError: if there is no file, or one can't be understood; names the file and the line.
    """
    files = sorted((project_dir / "datasources").glob("*.datasource"))
    if not files:
        raise ConfigurationError(
            f"no *.datasource file in {project_dir / 'datasources'}; set TRACKER_TINYBIRD_PROJECT_DIR"
        )
    return tuple(parse_datasource(file.stem, file.read_text()) for file in files)


def parse_datasource(name: str, text: str) -> Datasource:
    """Parse the text of one file; its name is the datasource's.

    Raises:
        ConfigurationError: on anything that this parser does not know; names the line.
    """
    if not _NAME.match(name):
        raise ConfigurationError(f"{name}.datasource: a datasource's name has letters, digits and underscores only")
    found = _instructions(name, text)
    missing = [instruction for instruction in _REQUIRED if instruction not in found]
    if missing:
        raise ConfigurationError(f"{name}.datasource: {' and '.join(missing)} missing")
    columns = tuple(_column(name, number, line) for number, line in found["SCHEMA"])
    values = {key: " ".join(line for _, line in lines).strip('"') for key, lines in found.items()}
    version = values.get("ENGINE_VER")
    if version and version not in {column.name for column in columns}:
        raise ConfigurationError(f"{name}.datasource: ENGINE_VER names no column: {version}")
    return Datasource(
        name=name,
        columns=columns,
        engine=values["ENGINE"],
        sorting_key=values["ENGINE_SORTING_KEY"],
        partition_key=values.get("ENGINE_PARTITION_KEY"),
        version_column=version,
    )


def _instructions(name: str, text: str) -> dict[str, list[tuple[int, str]]]:
    """Return each instruction's numbered lines: the rest of its line, or the indented block after a ``>``."""
    found: dict[str, list[tuple[int, str]]] = {}
    block: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace():
            block.append((number, line.strip()))
            continue
        match = _INSTRUCTION.match(line)
        if match is None or match["name"] not in (*_REQUIRED, *_OPTIONAL, *_IGNORED):
            raise ConfigurationError(f"{name}.datasource:{number}: not known here: {line.strip()}")
        rest = match["rest"].strip()
        block = [] if rest == ">" else [(number, rest)]
        found[match["name"]] = block
    return found


def _column(name: str, number: int, line: str) -> Column:
    match = _COLUMN.match(line.removesuffix(","))
    if match is None:
        raise ConfigurationError(f"{name}.datasource:{number}: not a column with a JSON path: {line}")
    if match["path"] != match["name"]:
        raise ConfigurationError(
            f"{name}.datasource:{number}: a column is filled from its own name's key only, not from {match['path']}"
        )
    return Column(match["name"], match["type"], match["default"])
