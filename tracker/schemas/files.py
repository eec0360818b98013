"""Reading the folder of schemas: ``NAME/VERSION.json``, such as ``purchase/1-0-0.json``."""

from pathlib import Path
from typing import Any, Final

import orjson

from topics.schemas import NO_SCHEMAS, SchemaId, Schemas, UnfitSchema
from tracker.errors import ConfigurationError

MAX_SCHEMA_BYTES: Final = 262_144


def read_schemas(folder: Path | None) -> Schemas:
    """Read and compile all schemas of a folder as it is now; None: there are no own event types.

    Raises:
        ConfigurationError: the folder is not there, or a file in it can't be used.
    """
    if folder is None:
        return NO_SCHEMAS
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: there is no such folder; correct TRACKER_SCHEMAS_DIR")
    documents = {}
    for path in schema_files(folder):
        documents[SchemaId(path.parent.name, path.stem)] = read_document(path)
    try:
        return Schemas(documents)
    except UnfitSchema as unfit:
        raise ConfigurationError(f"{folder}: {unfit}") from None


def schema_files(folder: Path) -> list[Path]:
    """Return the files of all schemas in a folder, in order."""
    return sorted(folder.glob("*/*.json"))


def schema_path(folder: Path, schema: SchemaId) -> Path:
    """Return the file of a schema."""
    return folder / schema.event_type / f"{schema.version}.json"


def read_document(path: Path) -> Any:
    """Read a small JSON file.

    Raises:
        ConfigurationError: it can't be read, is too large or is not JSON.
    """
    try:
        raw = path.read_bytes()
        if len(raw) > MAX_SCHEMA_BYTES:
            raise ConfigurationError(f"{path}: {len(raw)} bytes; the limit is {MAX_SCHEMA_BYTES}")
        return orjson.loads(raw)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None
