"""Which keypoints the records of a COCO file hold, and where.

    COCO, CrowdPose, OCHuman   ``keypoints``: those that the category names
    Human-Art                  ``keypoints_21`` too: COCO's 17, fingers and toes
    COCO-WholeBody             feet, face and hands, too (``whole_body``)

The category names 17 keypoints in all of them but CrowdPose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.persons import Triples, read_triples
from integrations.whole_body import is_whole_body, read_whole_body

COCO, HUMAN_ART, WHOLE_BODY = "coco17", "humanart21", "wholebody133"


@dataclass(frozen=True)
class Layout:
    """A skeleton, and how to read its keypoints ``(K, 3)`` from a record; the second argument names the record."""

    skeleton: Skeleton
    read: Callable[[dict[str, Any], str], Triples]


def choose_layout(named: Skeleton, people: Sequence[Any], wanted: str | None, path: str | Path) -> Layout:
    """Return where to read the keypoints of a skeleton, or, if none is wanted, as many as there are.

    Args:
        named: the skeleton that the category names.
        people: records of persons.
        wanted: name of a skeleton.
        path: for errors.

    Raises:
        InvalidAnnotation: the file does not hold the skeleton wanted, or it is not clear which holds most.
    """
    layouts = {layout.skeleton.name: layout for layout in _find_layouts(named, people)}
    held = ", ".join(layouts)
    if wanted is None and len(layouts) <= 2:
        return list(layouts.values())[-1]
    if wanted is None:
        raise InvalidAnnotation(f"{path} holds keypoints of several skeletons, one must be chosen: {held}")
    if wanted not in layouts:
        raise InvalidAnnotation(f"{path} holds no keypoints of skeleton {wanted!r}; it holds {held}")
    return layouts[wanted]


def _find_layouts(named: Skeleton, people: Sequence[Any]) -> list[Layout]:
    """Return every layout of the file, the category's first."""
    layouts = [Layout(named, lambda record, where: read_triples(record, "keypoints", where, len(named)))]
    if named.name == COCO:
        records = [record for record in people if isinstance(record, dict)]
        if any("keypoints_21" in record for record in records):
            layouts.append(Layout(Skeleton.load(HUMAN_ART), _read_human_art))
        if any(map(is_whole_body, records)):
            layouts.append(Layout(Skeleton.load(WHOLE_BODY), read_whole_body))
    return layouts


def _read_human_art(record: dict[str, Any], where: str) -> Triples:
    if "keypoints_21" in record:
        return read_triples(record, "keypoints_21", where, 21)
    body = read_triples(record, "keypoints", where, 17)  # a person of COCO, which some of its files mix in
    return np.concatenate([body, np.zeros((4, 3))])
