"""Files of events as rows: NDJSON (plain, gzip, zstd), CSV and Parquet, read in bounded pieces."""

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import orjson
import zstandard

from tracker.errors import ConfigurationError

#: Stands for standard input among the files.
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

    @property
    def raw(self) -> str:
        """The row's text, for the reject file."""
        match self.source:
            case bytes():
                return self.source.decode(errors="backslashreplace")
            case Mapping():
                return str(self.source)
        return ",".join(self.source).encode(errors="surrogateescape").decode(errors="backslashreplace")


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
    except (gzip.BadGzipFile, zstandard.ZstdError, EOFError) as error:
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


def _read_ndjson(name: str) -> Iterator[Row]:
    with _open(name) as file:
        number = 0
        while line := file.readline(LINE_MAX_BYTES):
            number += 1
            text = line.strip()
            if not text:
                continue
            try:
                fields = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                yield Row(number, None, text, f"not JSON: {error}")
                continue
            if isinstance(fields, dict):
                yield Row(number, fields, text)
            else:
                yield Row(number, None, text, "not a JSON object")


def _read_csv(name: str) -> Iterator[Row]:
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
                    yield Row(number, {key: value for key, value in row.items() if value is not None}, row)
    except ArrowInvalid as error:
        raise ConfigurationError(f"{name} is no Parquet file: {error}") from error


_READERS: Final[Mapping[str, Callable[[str], Iterator[Row]]]] = {
    "ndjson": _read_ndjson,
    "csv": _read_csv,
    "parquet": _read_parquet,
}
