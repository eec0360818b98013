"""Configuration files: TOML or JSON by the ending of their name, checked by a pydantic model."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from tracker.errors import ConfigurationError

#: Faults of one file that an error names.
MAX_NAMED_FAULTS: Final = 5

_PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {".toml": tomllib.loads, ".json": json.loads}

_Model = TypeVar("_Model", bound=BaseModel)


def read_config(path: Path, model: type[_Model], *, what: str, max_bytes: int) -> _Model:
    """Read a file and check it.

    Args:
        path: The file; its name ends with ``.toml`` or ``.json``.
        model: The type that the file's content is validated against.
        what: What errors call it, such as "keys file".
        max_bytes: Larger files are refused.

    Raises:
        ConfigurationError: the file is not valid. One line names the place and the mistake, never a value.
    """
    try:
        return model.model_validate(read_document(path, what=what, max_bytes=max_bytes))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)[:MAX_NAMED_FAULTS]
        lines = [f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in faults]
        raise ConfigurationError(f"the {what} {path} is not valid: {'; '.join(lines)}") from None


def read_document(path: Path, *, what: str, max_bytes: int) -> Any:
    """Read a file without checking its content; the arguments are those of ``read_config``.

    Raises:
        ConfigurationError: the file can't be read, is too large, or is no TOML or JSON.
    """
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ConfigurationError(f"the {what} {path} must have a name that ends with .toml or .json")
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        raise ConfigurationError(f"can't read the {what} {path}: {error.strerror}") from None
    if len(raw) > max_bytes:
        raise ConfigurationError(f"the {what} {path} is larger than {max_bytes} bytes")
    try:
        return parse(raw.decode("utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"the {what} {path} is not JSON: {error.msg} in line {error.lineno}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"the {what} {path} is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"the {what} {path} is not UTF-8") from None
