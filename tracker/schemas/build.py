"""What ``tracker schemas build`` makes of a folder of schemas. The same schemas always give the same bytes."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import orjson

from topics.schemas import Schemas
from tracker.errors import ConfigurationError
from tracker.schemas.checks import numbers
from tracker.schemas.columns import pipe
from tracker.schemas.documents import asyncapi_part, openapi_part
from tracker.schemas.python_types import python_module
from tracker.schemas.typescript import typescript_module

PYTHON: Final = "own_events.py"
TYPESCRIPT: Final = "own_events.ts"
ASYNCAPI: Final = "asyncapi.json"
OPENAPI: Final = "openapi.json"


def files(schemas: Schemas) -> Mapping[str, str]:
    """Return the files by their paths: a pipe for each type, types for the clients, parts of the API documents.

    Raises:
        ConfigurationError: there is no schema.
    """
    if not schemas.documents:
        raise ConfigurationError("there is no schema in the folder: begin one with tracker schemas new")
    in_order = {
        each: schemas.documents[each]
        for each in sorted(schemas.documents, key=lambda each: (each.event_type, numbers(each)))
    }
    pipes, newest = {}, {}
    for event_type, group in groupby(in_order, key=lambda each: each.event_type):
        versions = list(group)
        newest[versions[-1]] = in_order[versions[-1]]
        pipes[f"pipes/event_{event_type}.pipe"] = pipe(event_type, {each.version: in_order[each] for each in versions})
    return {
        **pipes,
        PYTHON: python_module(newest),
        TYPESCRIPT: typescript_module(newest),
        ASYNCAPI: _json(asyncapi_part(in_order)),
        OPENAPI: _json(openapi_part(in_order)),
    }


def write(schemas: Schemas, folder: Path) -> list[Path]:
    """Write the files into a folder, which is made if it is not there. Files that were made before are written over.

    Raises:
        ConfigurationError: there is no schema, or a file can't be written.
    """
    made = files(schemas)
    paths = []
    for name, text in made.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from None
        paths.append(path)
    return paths


def _json(document: Any) -> str:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"
