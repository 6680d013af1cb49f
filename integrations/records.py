"""The records of a JSON file, checked field by field: every error names file, id and field.

``where`` is how an error names the record, for example ``train.json: annotation 17``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clickpose.errors import InvalidAnnotation

MAX_COORDINATE = 1e9  # no coordinate or area of an image comes near; its square still fits into float32

T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Ledger:
    """Reads each record once: raises on a bad one, or counts and logs it if bad ones are skipped."""

    path: str | Path
    skip_bad: bool
    skipped: int = 0

    def read(self, records: list[Any], kind: str, reader: Callable[[dict[str, Any], str], T]) -> list[T]:
        """Return the result of ``reader(record, where)`` for each record; ids must exist and differ."""
        values, seen = [], set[int]()
        for record in records:
            try:
                where = f"{self.path}: {kind} {self._new_id(record, kind, seen)}"
                values.append(reader(record, where))
            except InvalidAnnotation as error:
                self._book(error)
        return values

    def report(self) -> None:
        """Log how many records were left out, if any."""
        if self.skipped:
            logger.warning("%s: skipped %d bad records", self.path, self.skipped)

    def _new_id(self, record: Any, kind: str, seen: set[int]) -> int:
        if not isinstance(record, dict):
            raise InvalidAnnotation(f"{self.path}: {kind} record {record!r} is not an object")
        record_id = integer(record, "id", f"{self.path}: {kind} {record.get('id', '?')}")
        if record_id in seen:
            raise InvalidAnnotation(f"{self.path}: {kind} {record_id}: field 'id' is used twice")
        seen.add(record_id)
        return record_id

    def _book(self, error: InvalidAnnotation) -> None:
        if not self.skip_bad:
            raise error
        self.skipped += 1
        logger.warning("skipped %s", error)


def load_json(path: str | Path) -> Any:
    """Read a JSON file; InvalidAnnotation if it cannot be read."""
    try:
        return json.loads(Path(path).read_bytes())  # given bytes, json detects UTF-8 and UTF-16 itself
    except UnicodeDecodeError as error:
        raise InvalidAnnotation(f"{path} is not text in UTF-8 or UTF-16: save it as UTF-8") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidAnnotation(f"{path} cannot be read as JSON: {error}") from error


def field(record: dict[str, Any], name: str, where: str) -> Any:
    """Return a required field."""
    if record.get(name) is None:
        raise InvalidAnnotation(f"{where}: field {name!r} is missing")
    return record[name]


def integer(record: dict[str, Any], name: str, where: str) -> int:
    """Return a field that must be a whole number."""
    value = field(record, name, where)
    if isinstance(value, bool) or not (isinstance(value, int) or _is_whole(value)):
        raise InvalidAnnotation(f"{where}: field {name!r} is {value!r}, an integer is expected")
    return int(value)


def optional(record: dict[str, Any], name: str) -> bool:
    """Tell whether an optional field is present; null counts as missing."""
    return record.get(name) is not None


def flag(record: dict[str, Any], name: str, where: str) -> bool:
    """Return a field that must be true or false."""
    value = field(record, name, where)
    if value not in (True, False):
        raise InvalidAnnotation(f"{where}: field {name!r} is {value!r}, true or false is expected")
    return bool(value)


def numbers(record: dict[str, Any], name: str, where: str, length: int) -> NDArray[np.float64]:
    """Return a field that must be ``length`` finite numbers, as ``(length,)`` float64."""
    values = field(record, name, where)
    if not isinstance(values, list) or len(values) != length:
        size = f"{len(values)} values" if isinstance(values, list) else f"a {type(values).__name__}"
        raise InvalidAnnotation(f"{where}: field {name!r} has {size}, {length} numbers are expected")
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidAnnotation(f"{where}: field {name!r} contains a value that is not a number") from error
    if array.shape != (length,):
        raise InvalidAnnotation(f"{where}: field {name!r} contains a list where a number is expected")
    if not (np.abs(array) < MAX_COORDINATE).all():  # false for NaN, too
        raise InvalidAnnotation(f"{where}: field {name!r} contains a number that is NaN, infinite or too large")
    return array


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()
