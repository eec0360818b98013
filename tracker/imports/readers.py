"""Files of events as rows: NDJSON or a JSON array (plain, gzip, zstd), CSV, Parquet. All are read in bounded pieces."""

import codecs
import csv
import gzip
import io
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import orjson
import zstandard

from tracker.errors import ConfigurationError
from tracker.imports.json_array import begins_array, read_array

#: The name of standard input among the files.
STDIN: Final = "-"
#: The longest line that is read; a longer one is rejected in parts.
LINE_MAX_BYTES: Final = 1_048_576
PARQUET_BATCH_ROWS: Final = 10_000

FORMATS: Final = ("ndjson", "csv", "parquet")


class Row(NamedTuple):
    """A row as its file has it: the line (or row) number from 1, and its fields or why they can't be read."""

    line: int
    fields: Mapping[str, Any] | None
    #: The row as it was read; text is made of it only if it is rejected, which few are.
    source: bytes | Sequence[str] | Mapping[str, Any]
    error: str = ""


def raw_text(source: object) -> str:
    """Return a row's text, for the reject file; objects as JSON, so that they can be mended and imported."""
    match source:
        case bytes():
            return source.decode(errors="backslashreplace")
        case Mapping():
            return orjson.dumps(source, str, orjson.OPT_NON_STR_KEYS).decode()
        case Sequence():
            return ",".join(source).encode(errors="surrogateescape").decode(errors="backslashreplace")
    return str(source)


def read_rows(name: str, file_format: str | None) -> Iterator[Row]:
    """Yield a file's rows; the format follows from the name unless it is given.

    Raises:
        ConfigurationError: the file is missing, or of a format that is not known here.
    """
    reader = _READERS.get(file_format or _format_of(name))
    if reader is None:
        known = ", ".join(FORMATS)
        raise ConfigurationError(f"{name}: what format is it? Give --format, one of {known}")
    try:
        yield from reader(name)
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise ConfigurationError(f"{name}: {error.strerror}") from error
    except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError, EOFError, csv.Error) as error:
        raise ConfigurationError(f"{name} is damaged: {error}") from error


def _format_of(name: str) -> str:
    if name == STDIN:
        return "ndjson"
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in {".gz", ".zst"}:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return {".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson", ".csv": "csv", ".parquet": "parquet"}.get(
        last, ""
    )


def _open(name: str) -> IO[bytes]:
    if name == STDIN:
        return sys.stdin.buffer
    match Path(name).suffix.lower():
        case ".gz":
            return gzip.open(name)  # type: ignore[return-value] # it reads bytes like any file
        case ".zst":
            return io.BufferedReader(zstandard.open(name))  # it has no readline
    return Path(name).open("rb")


def _read_json(name: str) -> Iterator[Row]:
    """Read lines with an object each, or one array of objects: its first character tells which."""
    with _open(name) as file:
        if begins_array(file):
            for number, value, text in read_array(name, file):
                is_row = isinstance(value, dict)
                source = text.encode(errors="surrogateescape")
                yield Row(number, value, source) if is_row else Row(number, None, source, "not a JSON object")
            return
        number = 0
        while line := file.readline(LINE_MAX_BYTES):
            number += 1
            written = line.removeprefix(codecs.BOM_UTF8).strip() if number == 1 else line.strip()
            if not written:
                continue
            try:
                fields = orjson.loads(written)
            except orjson.JSONDecodeError as error:
                yield Row(number, None, written, f"not JSON: {error}")
                continue
            if isinstance(fields, dict):
                yield Row(number, fields, written)
            else:
                yield Row(number, None, written, "not a JSON object")


def _read_csv(name: str) -> Iterator[Row]:
    csv.field_size_limit(LINE_MAX_BYTES)
    with _open(name) as file, io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text:
        reader = csv.reader(text)
        header = next(reader, None)
        if header is None:
            return
        for cells in reader:
            if len(cells) != len(header):
                yield Row(reader.line_num, None, cells, f"{len(cells)} cells under {len(header)} headings")
            else:
                # An empty cell is no value: CSV has no other way to say so.
                yield Row(reader.line_num, {k: v for k, v in zip(header, cells, strict=True) if v}, cells)


def _read_parquet(name: str) -> Iterator[Row]:
    try:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415 - an optional part of the installation
    except ModuleNotFoundError as error:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'event-tracker[parquet]'") from error
    if name == STDIN:
        raise ConfigurationError("Parquet can't be read from a pipe; give the file")
    try:
        number = 0
        with parquet.ParquetFile(name) as file:
            for batch in file.iter_batches(batch_size=PARQUET_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield Row(number, _without_nulls(row), row)
    except ArrowInvalid as error:
        raise ConfigurationError(f"{name} is no Parquet file: {error}") from error


def _without_nulls(value: Any) -> Any:
    """Leave out nulls at any depth: every row of a Parquet file has every field of its structures."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


_READERS: Final[Mapping[str, Callable[[str], Iterator[Row]]]] = {
    "ndjson": _read_json,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
