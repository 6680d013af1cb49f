"""Names of images in a file, as tools write them.

.txt             a name per line; empty lines and lines that begin with ``#`` are left out
.csv .tsv        a column with one of the headings in ``COLUMNS``, or the only one; divided as the first line is
.parquet         likewise
.jsonl .ndjson   on each line a name, or an object with one of ``COLUMNS`` as a key
.json            a list of these, a COCO file, or tasks of Label Studio

Text is UTF-8 or UTF-16, with or without a mark.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pyarrow
import pyarrow.parquet as pq

from clickpose.errors import ImageError

COLUMNS = ("file_name", "image", "uri", "path", "filename", "file", "url", "name")
logger = logging.getLogger(__name__)
DELIMITERS = "\t;,"  # Excel writes semicolons where numbers have a decimal comma
LINE_ENDS = re.compile(r"\r\n|[\r\n\0]")  # find -print0 ends names with zeros


def is_name_file(name: str) -> bool:
    """Tell by its suffix whether a file lists names of images."""
    return _suffix(name) in READERS


def read_names(data: bytes, name: str) -> list[str]:
    """Return the names that a file lists, as they are written there.

    Args:
        data: its content.
        name: its path or URI.

    Raises:
        ImageError: it is not what its suffix says, or it is not clear what in it are names.
    """
    listed = READERS[_suffix(name)](data, name)
    names = [one for one in listed if one]
    if len(names) < len(listed):
        lost = len(listed) - len(names)
        keys = ", ".join(COLUMNS)
        logger.warning("%s: %d of %d entries have no image name (%s), and are left out", name, lost, len(listed), keys)
    return names


def _suffix(name: str) -> str:
    path = urlsplit(name).path if "://" in name else name
    return path.rpartition("/")[2].rpartition(".")[2].lower()


def _lines(data: bytes, name: str) -> list[str]:
    lines = (line.strip() for line in LINE_ENDS.split(_text(data, name)))
    return [line for line in lines if line and not line.startswith("#")]


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        raise ImageError(f"{name} is neither UTF-8 nor UTF-16 text: save it as UTF-8") from error


def _table(data: bytes, name: str) -> list[str]:
    text = _text(data, name)
    first_line = LINE_ENDS.split(text.lstrip(), maxsplit=1)[0]
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=first_line.count))
    heading, *rows = [row for row in lines if row] or [[]]
    if len(heading) == 1 and heading[0].strip().lower() not in COLUMNS:
        return [row[0] for row in [heading, *rows]]
    place = heading.index(_column(heading, name))
    return [row[place].strip() if len(row) > place else "" for row in rows]


def _parquet(data: bytes, name: str) -> list[str]:
    try:
        file = pq.ParquetFile(pyarrow.BufferReader(data))
        column = _column(file.schema_arrow.names, name)
        return [str(value or "") for value in file.read([column], use_threads=False)[column].to_pylist()]
    except pyarrow.ArrowException as error:
        raise ImageError(f"{name} cannot be read as Parquet: {error}") from error


def _column(columns: Sequence[str], name: str) -> str:
    """Return the column that holds names: one that is called so, or the only one."""
    known = {column.strip().lower(): column for column in columns}
    found = [known[column] for column in COLUMNS if column in known] or (list(columns) if len(columns) == 1 else [])
    if not found:
        raise ImageError(f"{name} has no column of image names, only {', '.join(columns)}: rename it to {COLUMNS[0]!r}")
    return found[0]


def _json_lines(data: bytes, name: str) -> list[str]:
    return _names_in([_parse(line, name) for line in _lines(data, name)], name)


def _json(data: bytes, name: str) -> list[str]:
    document = _parse(_text(data, name), name)
    return _names_in(document.get("images") if isinstance(document, dict) else document, name)


def _parse(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ImageError(f"{name} cannot be read as JSON: {error}") from error


def _names_in(records: Any, name: str) -> list[str]:
    if not isinstance(records, list):
        raise ImageError(f"{name} lists no images: a list of names, a COCO file or tasks of Label Studio are expected")
    return [_name_in(record) for record in records]


def _name_in(record: Any) -> str:
    """Return the name that a record is, or has under one of the known keys, a task in its data; empty without one."""
    if isinstance(record, str):
        return record
    values: Iterable[Any] = ()
    if isinstance(record, Mapping):
        known = record["data"] if isinstance(record.get("data"), Mapping) else record
        values = (known.get(column) for column in COLUMNS)
    return next((value for value in values if isinstance(value, str) and value), "")


READERS: dict[str, Callable[[bytes, str], list[str]]] = {
    "txt": _lines,
    "csv": _table,
    "tsv": _table,
    "parquet": _parquet,
    "jsonl": _json_lines,
    "ndjson": _json_lines,
    "json": _json,
}
