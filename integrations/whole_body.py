"""COCO-WholeBody: feet, face and hands in fields of their own beside COCO's 17 keypoints.

    part_kpts    x, y, v for each keypoint of the part; v is COCO's, or a confidence: above 0 means labelled
    part_valid   whether the part is visible enough; if not, none of it is labelled

https://github.com/jin-s13/COCO-WholeBody/blob/master/data_format.md
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clickpose.errors import InvalidAnnotation
from integrations.persons import Triples, read_triples
from integrations.records import flag, numbers

NUM_BODY = 17
PARTS = {"foot": 6, "face": 68, "lefthand": 21, "righthand": 21}  # keypoints, in the order of the 133


def is_whole_body(record: dict[str, Any]) -> bool:
    """Tell whether a person's record holds a part beside the body."""
    return any(f"{part}_kpts" in record for part in PARTS)


def read_whole_body(record: dict[str, Any], where: str) -> Triples:
    """Read the 133 keypoints of a person as ``(133, 3)``."""
    body = read_triples(record, "keypoints", where, NUM_BODY)
    return np.concatenate([body, *(_read_part(record, part, where) for part in PARTS)])


def _read_part(record: dict[str, Any], part: str, where: str) -> Triples:
    name, size = f"{part}_kpts", PARTS[part]
    triples = numbers(record, name, where, 3 * size).reshape(size, 3)
    if not ((triples[:, 2] >= 0) & (triples[:, 2] <= 2)).all():
        raise InvalidAnnotation(f"{where}: field {name!r} has a visibility outside 0..2")
    is_valid = flag(record, f"{part}_valid", where)
    triples[:, 2] = (
        np.ceil(triples[:, 2]) if is_valid else 0
    )  # a confidence says that it is labelled, not that it shows
    return triples
