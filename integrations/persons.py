"""Images and persons of a file, checked and in our conventions; every data set is read with these."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clickpose.annotations import AREA_PER_BOX, AnnotatedImage, Floats, PersonAnnotation
from clickpose.errors import InvalidAnnotation
from integrations.records import field, flag, integer, numbers, optional

EDGE_PX = 1.0  # tolerance for rounding and for pixels counted from 1

Triples = NDArray[np.float64]


def read_image(record: dict[str, Any], where: str) -> AnnotatedImage:
    """Read the record of an image, without its persons."""
    size_wh = integer(record, "width", where), integer(record, "height", where)
    if min(size_wh) <= 0:
        raise InvalidAnnotation(f"{where}: fields 'width' and 'height' must be positive, not {size_wh}")
    file_name = str(field(record, "file_name", where))
    crowd_index = number(record, "crowdIndex", where) if "crowdIndex" in record else None
    if crowd_index is not None and not 0 <= crowd_index <= 1:
        raise InvalidAnnotation(f"{where}: field 'crowdIndex' is {crowd_index}, a share in 0..1 is expected")
    return AnnotatedImage(int(record["id"]), file_name, size_wh, crowd_index=crowd_index)


def read_triples(record: dict[str, Any], name: str, where: str, num_keypoints: int) -> Triples:
    """Read a field of x, y, v for each keypoint, as ``(K, 3)``; v is 0, 1 or 2.

    A person without keypoints has no labels, and a keypoint without a place (null or NaN) has none.
    """
    if not record.get(name):
        return np.zeros((num_keypoints, 3))
    triples = numbers(_with_places({name: record[name]}, name), name, where, 3 * num_keypoints)
    triples = triples.reshape(num_keypoints, 3)
    if not np.isin(triples[:, 2], (0, 1, 2)).all():
        raise InvalidAnnotation(f"{where}: field {name!r} has a visibility other than 0, 1 or 2")
    return triples


def read_person(record: dict[str, Any], triples: Triples, image: AnnotatedImage, where: str) -> PersonAnnotation:
    """Read a COCO record around the keypoints ``(K, 3)`` that were found in it.

    Tools that know only points leave out the box, or write one without a size: it is the one around the points. An
    area of 0, with which no pose would ever match, is that of the box.
    """
    x, y, width, height = numbers(record, "bbox", where, 4) if optional(record, "bbox") else (0.0, 0.0, 0.0, 0.0)
    if width < 0 or height < 0:
        raise InvalidAnnotation(f"{where}: field 'bbox' has a negative width or height")
    area_px = number(record, "area", where) if optional(record, "area") else 0.0
    if area_px < 0:
        raise InvalidAnnotation(f"{where}: field 'area' is negative")
    is_crowd = flag(record, "iscrowd", where) if optional(record, "iscrowd") else False
    labelled = triples[triples[:, 2] > 0, :2]
    if width * height == 0 and len(labelled):
        box_px = np.array([*labelled.min(0), *labelled.max(0)], np.float32)
        return person(int(record["id"]), triples, box_px, area_px or area_from_box(box_px), is_crowd=is_crowd)
    box_px = box_inside((x, y, x + width, y + height), image, where)
    area_px = area_px or AREA_PER_BOX * float(width * height)
    return person(int(record["id"]), triples, box_px, area_px, is_crowd=is_crowd)


def _with_places(record: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a field of x, y, v with zeros for each keypoint whose x or y is null or NaN."""
    values = record[name]
    if not isinstance(values, list) or len(values) % 3:
        return record
    places = zip(values[::3], values[1::3], values[2::3], strict=True)
    whole = [(0, 0, 0) if any(value is None or value != value for value in one[:2]) else one for one in places]
    return {name: [value for one in whole for value in one]}


def person(
    person_id: int, triples: Triples, box_px: Floats, area_px: float, *, is_crowd: bool = False
) -> PersonAnnotation:
    """Build a person; keypoints without a label go to the origin."""
    visibility = triples[:, 2].astype(np.int64)
    keypoints_px = np.where(visibility[:, None] > 0, triples[:, :2], 0).astype(np.float32)
    return PersonAnnotation(person_id, keypoints_px, visibility, box_px, area_px, is_crowd=is_crowd)


def box_inside(box_xyxy: tuple[float, float, float, float], image: AnnotatedImage, where: str) -> Floats:
    """Return a box ``(4,)`` as it is, if it overlaps its image; it may extend beyond the edge.

    Raises:
        InvalidAnnotation: the whole box is outside the image, by more than ``EDGE_PX``.
    """
    x0, y0, x1, y1 = (round(float(edge), 2) for edge in box_xyxy)
    width, height = image.size_wh
    if x1 < -EDGE_PX or y1 < -EDGE_PX or x0 > width + EDGE_PX or y0 > height + EDGE_PX:
        raise InvalidAnnotation(
            f"{where}: field 'bbox' is x {x0} .. {x1}, y {y0} .. {y1}, outside the image of {width} x {height}"
        )
    return np.array(box_xyxy, np.float32)


def area_from_box(box_px: Floats) -> float:
    """Estimate a person's area in square pixels from the box ``(4,)`` x0, y0, x1, y1."""
    x0, y0, x1, y1 = (float(edge) for edge in box_px)
    return AREA_PER_BOX * (x1 - x0) * (y1 - y0)


def number(record: dict[str, Any], name: str, where: str) -> float:
    """Return a field that must be one finite number."""
    return float(numbers({name: [field(record, name, where)]}, name, where, 1)[0])
