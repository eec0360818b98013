"""The mapping file (TOML or JSON): which column is which field, and how times and values are written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tracker.errors import ConfigurationError
from tracker.imports.paths import parse
from tracker.imports.values import CONVERTERS, TimeFormat
from tracker.processes.config_file import read_document

#: Mappings of exports that are known, by name: ``--mapping ga4``.
_READY_DIR: Final = Path(__file__).with_name("ready")
_KNOWN: Final = frozenset(CONVERTERS)
#: A column whose name ends so may be missing in all rows.
OPTIONAL: Final = "?"
#: Files that extend each other.
MAX_EXTENDED_FILES: Final = 8
MAX_MAPPING_BYTES: Final = 1_048_576


def _columns(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


def _readable(columns: list[str]) -> list[str]:
    try:
        for column in columns:
            parse(column.removesuffix(OPTIONAL))
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return columns


#: One column, or several of which the first that holds something counts.
Columns = Annotated[list[str], BeforeValidator(_columns), Field(min_length=1), AfterValidator(_readable)]


class Default(BaseModel):
    """The value that replaces a field's unknown values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: str


class ColumnMapping(BaseModel):
    """The mapping file. Without one, columns are named as the fields of an event and of its visitor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Field of an event or of its visitor (or session_id, timestamp, passive) -> column of the file.
    columns: dict[str, Columns] = Field(default_factory=dict)
    #: Key of the object in ``metadata`` -> column; ``"*"``: the keys of this column are keys of the object.
    metadata: dict[str, Columns] = Field(default_factory=dict)
    #: Event type of the user's own -> the version of its schema; ``properties`` is a column of these events only.
    schemas: dict[str, str] = Field(default_factory=dict)
    #: Field -> its value in rows that have none.
    constants: dict[str, str] = Field(default_factory=dict)
    #: Field -> value in the file -> value of the event.
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    #: Field -> values in the file whose rows are left out.
    drop: dict[str, list[str]] = Field(default_factory=dict)
    #: Field -> what becomes of a row whose value is unknown: neither in ``values`` nor one that the field takes.
    otherwise: dict[str, Literal["drop"] | Default] = Field(default_factory=dict)
    #: Field that is a number -> what the file's number is multiplied by.
    multiply: dict[str, float] = Field(default_factory=dict)
    time: TimeFormat = "iso"
    #: A column that holds a list: each of its elements is a row, with all other columns of the row that it stands in.
    explode: str = ""
    #: Columns that are left out, also where a ``*`` takes all others.
    ignore: Annotated[list[str], AfterValidator(_readable)] = Field(default_factory=list)
    #: Columns that are neither mapped nor named as a field: an error, so that no data is lost unnoticed.
    ignore_other_columns: bool = False


def ready_mappings() -> list[str]:
    """Return the names of the mappings that are ready."""
    return sorted(path.stem for path in _READY_DIR.glob("*.toml"))


def read_mapping(name: str | None) -> ColumnMapping:
    """Return the mapping of this name, or in this file; without one, that which maps each column to its own name.

    Raises:
        ConfigurationError: it is missing or says something that is not known here.
    """
    if name is None:
        return ColumnMapping()
    try:
        mapping = ColumnMapping.model_validate(_read(name, MAX_EXTENDED_FILES))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigurationError(f"{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    sections = mapping.columns, mapping.constants, mapping.values, mapping.drop, mapping.otherwise, mapping.multiply
    if unknown := {field for section in sections for field in section} - _KNOWN:
        raise ConfigurationError(f"{name}: an event has no field {', '.join(sorted(unknown))}")
    if mapping.schemas and "properties" not in mapping.columns:
        raise ConfigurationError(f"{name}: [schemas] needs the column of properties in [columns]")
    if mapping.metadata and "metadata" in mapping.columns:
        raise ConfigurationError(f"{name}: metadata is either one of [columns], or has its keys in [metadata]")
    return mapping


def _read(name: str, files_left: int) -> dict[str, Any]:
    """Read a file and the file that it extends; the extending file's keys win."""
    path = _path(name)
    read = read_document(path, what="mapping", max_bytes=MAX_MAPPING_BYTES)
    if not isinstance(read, dict):
        raise ConfigurationError(f"{name}: a mapping is an object")
    extended = read.pop("extends", None)
    if extended is None:
        return read
    if not isinstance(extended, str) or not files_left:
        raise ConfigurationError(f"{name}: extends: name a mapping that is ready or a file, and no circle of files")
    if extended not in ready_mappings():
        extended = str(path.parent / extended)
    return _merged(_read(extended, files_left - 1), read)


def _path(name: str) -> Path:
    """A name without an ending is one of those that are ready."""
    if Path(name).suffix or "/" in name or Path(name).exists():
        return Path(name)
    if name not in ready_mappings():
        known = ", ".join(ready_mappings())
        raise ConfigurationError(f"there is no mapping {name!r}: give a TOML or JSON file, or one of {known}")
    return _READY_DIR / f"{name}.toml"


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merged(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
    return merged
