"""COCO keypoint files: read, written, and results for pycocotools.

    image        a record of ``images``: id, file_name, width, height
    annotation   a record of ``annotations``: one person, ``keypoints`` flat as x, y, v, ``bbox`` as x, y, w, h
    category     a record of ``categories``: the keypoints' names and, counted from 1, the links between them

A reader refuses a bad record and names file, id and field, or, asked to skip, reports how many it left out.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from clickpose.annotations import AnnotatedImage, AnnotationSet, Floats, PersonAnnotation, Pose
from clickpose.errors import InvalidAnnotation, InvalidSkeleton
from clickpose.skeleton import Skeleton, built_in
from integrations.layouts import choose_layout
from integrations.ochuman import is_ochuman, read_ochuman
from integrations.persons import read_image, read_person
from integrations.places import check_places
from integrations.records import Ledger, integer, load_json

PERSON_CATEGORY = 1

logger = logging.getLogger(__name__)


def read_coco(
    path: str | Path, *, category: str | None = None, skeleton: str | None = None, skip_bad: bool = False
) -> AnnotationSet:
    """Read a COCO keypoint file, or that of CrowdPose, Human-Art, COCO-WholeBody or OCHuman.

    Args:
        path: the JSON file.
        category: name of the category to read; None means all that have keypoints, which must be the same.
        skeleton: name of the skeleton to read where a file holds keypoints of two, as those of Human-Art hold
            ``coco17`` and ``humanart21``; None means the larger one.
        skip_bad: leave bad records out and log each instead of refusing the file.

    Returns:
        Every image of the file, with the persons of these categories. The skeleton is the built-in one whose
        keypoints have the same names, else the category's own.

    Raises:
        InvalidAnnotation: the file is no COCO keypoint file, or a record is malformed.
    """
    document = load_json(path)
    if is_ochuman(document):
        return read_ochuman(document, path, wanted=skeleton, skip_bad=skip_bad)
    _check_lists(document, path)
    chosen = _choose_categories(document["categories"], category, path)
    ids_chosen = {one["id"] for one in chosen}
    layout = choose_layout(_read_skeleton(chosen[0], path), document["annotations"], skeleton, path)
    ledger = Ledger(path, skip_bad)
    images = {image.id: image for image in ledger.read(document["images"], "image", read_image)}
    persons: dict[int, list[PersonAnnotation]] = {image_id: [] for image_id in images}
    category_ids = [record["id"] for record in document["categories"] if isinstance(record, dict) and "id" in record]

    def read_annotation(record: dict[str, Any], where: str) -> bool:
        if is_chosen := _category_of(record, category_ids, where) in ids_chosen:
            image = _image_of(record, images, where)
            persons[image.id].append(read_person(record, layout.read(record, where), image, where))
        return is_chosen

    if others := ledger.read(document["annotations"], "annotation", read_annotation).count(False):
        logger.warning("%s: %d annotations of other categories are left out", path, others)
    ledger.report()
    complete = tuple(replace(image, persons=tuple(persons[image.id])) for image in images.values())
    check_places(complete, path)
    return AnnotationSet(layout.skeleton, complete)


def person_categories(path: str | Path, category: str | None = None) -> list[int]:
    """Return the ``category_id``s that results on this data set have; see ``read_coco`` for arguments and errors."""
    document = load_json(path)
    if is_ochuman(document):
        return [PERSON_CATEGORY]
    _check_lists(document, path)
    chosen = _choose_categories(document["categories"], category, path)
    return [integer(one, "id", f"{path}: category {one['id']}") for one in chosen]


def write_coco(annotations: AnnotationSet, path: str | Path) -> None:
    """Write a COCO keypoint file that ``read_coco`` reads back without a difference.

    Boxes that do not show in their image are the exception: they are written, and refused when read. Areas of 0 are
    read as those of the boxes.
    """
    document = {
        "images": [_image_record(image) for image in annotations.images],
        "annotations": [_person_record(person, image.id) for image in annotations.images for person in image.persons],
        "categories": [category_record(annotations.skeleton)],
    }
    partial = Path(f"{path}.partial")
    partial.write_text(json.dumps(document, allow_nan=False))
    os.replace(partial, path)


def results_to_coco(poses: Mapping[int, Sequence[Pose]]) -> list[dict[str, Any]]:
    """Return the poses of each image id as COCO result records; the third number of a keypoint is its score."""
    return [
        {
            "image_id": image_id,
            "category_id": PERSON_CATEGORY,
            "keypoints": flat(pose.keypoints_px, pose.scores),
            "bbox": xywh(pose.box_px),
            "score": float(pose.score),
        }
        for image_id, found in poses.items()
        for pose in found
    ]


def _check_lists(document: Any, path: str | Path) -> None:
    for name in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(name), list):
            raise InvalidAnnotation(f"{path} is no COCO keypoint file: the list {name!r} is missing")


def _choose_categories(categories: list[Any], name: str | None, path: str | Path) -> list[dict[str, Any]]:
    """Return the category of that name, or all that have keypoints: species, say, with the same ones each."""
    known = [c for c in categories if isinstance(c, dict) and "id" in c]
    chosen = [c for c in known if c.get("name") == name] if name else [c for c in known if c.get("keypoints")]
    names = ", ".join(repr(c.get("name")) for c in (chosen or known)) or "none"
    if not chosen or (name and len(chosen) > 1):
        what = f"category {name!r} is not there exactly once" if name else "no category has keypoints"
        raise InvalidAnnotation(f"{path}: {what}; categories: {names}")
    for one in chosen:
        _check_category(one, path)
    if any(c["keypoints"] != chosen[0]["keypoints"] for c in chosen):
        raise InvalidAnnotation(f"{path}: several categories have keypoints, choose one with --category: {names}")
    return chosen


def _check_category(category: dict[str, Any], path: str | Path) -> None:
    where, names = f"{path}: category {category['id']}", category.get("keypoints")
    integer(category, "id", where)
    if not names:
        raise InvalidAnnotation(f"{where}: field 'keypoints' is missing or empty")
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise InvalidAnnotation(f"{where}: field 'keypoints' is {str(names)[:80]}, a list of names is expected")


def _read_skeleton(category: dict[str, Any], path: str | Path) -> Skeleton:
    try:
        if "schema" in category:
            return Skeleton.from_dict(category["schema"])
        names = tuple(str(name) for name in category["keypoints"])
        for skeleton in (Skeleton.load(name) for name in built_in()):
            if skeleton.keypoints == names:
                return skeleton
        links = _read_links(category.get("skeleton"), names, f"{path}: category {category['id']}")
        return Skeleton.from_dict({"name": category.get("name", "person"), "keypoints": names, "links": links})
    except (InvalidSkeleton, TypeError, AttributeError) as error:
        raise InvalidAnnotation(f"{path}: category {category['id']}: {error}") from error


def _read_links(links: Any, names: Sequence[str], where: str) -> list[tuple[int, int]]:
    """Count links from 0; one that leads to no keypoint is a leftover of another schema, and is left out with a line.

    COCO counts from 1. Where some link ends at 0, and all are in range so, a tool counted from 0. Some write names.
    """
    ends = [[_end(end, names) for end in link] for link in links or () if isinstance(link, list) and len(link) == 2]
    numbers = [end for link in ends for end in link if end is not None]
    first = 0 if 0 in numbers and max(numbers) < len(names) else 1
    counted = [tuple(end - first for end in link if end is not None) for link in ends]
    known = [(pair[0], pair[1]) for pair in counted if len(pair) == 2 and all(0 <= end < len(names) for end in pair)]
    if lost := len(links or ()) - len(known):
        logger.warning("%s: %d of %d links lead to no keypoint, and are not drawn", where, lost, len(links))
    return known


def _end(end: Any, names: Sequence[str]) -> int | None:
    """Return a link's end, counted from 1 where it is a name; None if it is neither a name nor a whole number."""
    if isinstance(end, str):
        return names.index(end) + 1 if end in names else None
    is_whole = isinstance(end, int | float) and not isinstance(end, bool) and float(end).is_integer()
    return int(end) if is_whole else None


def _category_of(record: dict[str, Any], known: Collection[int], where: str) -> int:
    category_id = integer(record, "category_id", where)
    if category_id not in known:
        raise InvalidAnnotation(f"{where}: field 'category_id' names category {category_id}, which is not in the file")
    return category_id


def _image_of(record: dict[str, Any], images: Mapping[int, AnnotatedImage], where: str) -> AnnotatedImage:
    image_id = integer(record, "image_id", where)
    if image_id not in images:
        raise InvalidAnnotation(f"{where}: field 'image_id' names image {image_id}, which is not in the file")
    return images[image_id]


def _image_record(image: AnnotatedImage) -> dict[str, Any]:
    width, height = image.size_wh
    record = {"id": image.id, "file_name": image.file_name, "width": width, "height": height}
    return record if image.crowd_index is None else record | {"crowdIndex": image.crowd_index}


def _person_record(person: PersonAnnotation, image_id: int) -> dict[str, Any]:
    return {
        "id": person.id,
        "image_id": image_id,
        "category_id": PERSON_CATEGORY,
        "keypoints": flat(person.keypoints_px, person.visibility),
        "num_keypoints": person.num_labelled,
        "bbox": xywh(person.box_px),
        "area": float(person.area_px),
        "iscrowd": int(person.is_crowd),
    }


def category_record(skeleton: Skeleton) -> dict[str, Any]:
    """Describe the skeleton for COCO's readers and, where it is not built in, in full for ours."""
    record = {
        "id": PERSON_CATEGORY,
        "name": "person",
        "keypoints": list(skeleton.keypoints),
        "skeleton": [[first + 1, second + 1] for first, second in skeleton.links],
    }
    if skeleton.name not in built_in() or Skeleton.load(skeleton.name) != skeleton:
        record["schema"] = skeleton.to_dict()
    return record


def flat(keypoints_px: Floats, third: NDArray[Any]) -> list[float | int]:
    """Return places ``(K, 2)`` and a third number of each, one after the other."""
    return [value for (x, y), v in zip(keypoints_px.tolist(), third.tolist(), strict=True) for value in (x, y, v)]


def xywh(box_px: Floats) -> list[float]:
    """Return a box x0, y0, x1, y1 as x, y, width, height."""
    x0, y0, x1, y1 = (float(edge) for edge in box_px)
    return [x0, y0, x1 - x0, y1 - y0]
