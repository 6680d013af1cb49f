"""COCO keypoint results, the JSON list that pose estimators write for pycocotools: read as poses.

    result   a record of the list: one person found, with ``image_id``, ``score``, ``keypoints`` flat as x, y, s (the
             third number is the keypoint's confidence, where a model has one) and, where a model has one, ``bbox``;
             with another ``category_id`` than that of persons, something that COCO's evaluation ignores

A reader refuses a bad record and names file, place in the list and field.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clickpose.annotations import ABSENT, VISIBLE, AnnotationSet, Floats, Pose
from clickpose.errors import InvalidAnnotation
from integrations.records import field, integer, load_json, numbers

logger = logging.getLogger(__name__)


def read_results(
    path: str | Path, annotations: AnnotationSet, categories: Collection[int] = (1,)
) -> dict[int, list[Pose]]:
    """Read the persons that a model found, by image id.

    Args:
        path: the JSON file.
        annotations: the data set that was looked at; the keypoints are those of its skeleton, in that order.
        categories: ids of persons in that data set (``coco.person_categories``); results of others are left out.

    Raises:
        InvalidAnnotation: the file is no list of COCO keypoint results, a result is of an image that is not in the
            data set, or it has another number of keypoints, or all results are of other categories.
    """
    image_ids: dict[Any, int] = {image.file_name: image.id for image in annotations.images}
    image_ids |= {image.id: image.id for image in annotations.images}
    records = [(record, f"{path}: result {index}") for index, record in enumerate(_load(path))]
    known = list(categories)
    of_persons = [(record, where) for record, where in records if _category(record, known[0], where) in known]
    if records and not of_persons:
        wanted = ", ".join(map(str, known))
        raise InvalidAnnotation(f"{path}: no result has field 'category_id' {wanted}, that of persons in the data")
    if others := len(records) - len(of_persons):
        logger.warning("%s: %d results of other categories than persons are left out", path, others)
    to_confidence = _confidences([_score(record, where) for record, where in of_persons])
    poses: dict[int, list[Pose]] = {}
    for record, where in of_persons:
        image_id = _image_id(record, image_ids, where)
        pose = _read_pose(record, len(annotations.skeleton), where)
        poses.setdefault(image_id, []).append(replace(pose, score=to_confidence(pose.score)))
    return poses


def _load(path: str | Path) -> list[Any]:
    records = load_json(path)
    if not isinstance(records, list):
        raise InvalidAnnotation(f"{path} is no COCO results file: a list of results is expected")
    return records


def _category(record: Any, default: int, where: str) -> int:
    if not isinstance(record, dict):
        raise InvalidAnnotation(f"{where} is {record!r}, an object is expected")
    return integer(record, "category_id", where) if "category_id" in record else default


def _image_id(record: dict[str, Any], image_ids: Mapping[Any, int], where: str) -> int:
    """Return the id of a result's image; some models write its file name instead."""
    named = record.get("image_id")
    image_id = named if isinstance(named, str) else integer(record, "image_id", where)
    if image_id not in image_ids:
        raise InvalidAnnotation(f"{where}: field 'image_id' names image {image_id}, which is not in the data set")
    return image_ids[image_id]


def _read_pose(record: dict[str, Any], num_keypoints: int, where: str) -> Pose:
    triples = numbers(record, "keypoints", where, 3 * num_keypoints).reshape(num_keypoints, 3)
    keypoints_px = triples[:, :2].astype(np.float32)
    is_found = triples.any(-1)  # zeros stand for a keypoint that a model did not find
    return Pose(
        keypoints_px=keypoints_px,
        visibility=np.where(is_found, VISIBLE, ABSENT),
        scores=triples[:, 2].astype(np.float32),
        box_px=_box_px(record, keypoints_px[is_found] if is_found.any() else keypoints_px, where),
        score=_score(record, where),
        held=np.zeros(num_keypoints, bool),
    )


def _score(record: dict[str, Any], where: str) -> float:
    return float(numbers({"score": [field(record, "score", where)]}, "score", where, 1)[0])


def _confidences(scores: Sequence[float]) -> Callable[[float], float]:
    """Return what brings scores into 0..1 and keeps their ranks, which are all that counts; some models add up more."""
    low, high = min([0.0, *scores]), max([1.0, *scores])
    return lambda score: (score - low) / (high - low)


def _box_px(record: dict[str, Any], keypoints_px: Floats, where: str) -> Floats:
    """Return the person's box, else the one around the keypoints."""
    if record.get("bbox") is None:
        return np.array([*keypoints_px.min(0), *keypoints_px.max(0)], np.float32)
    x, y, width, height = numbers(record, "bbox", where, 4)
    if width < 0 or height < 0:
        raise InvalidAnnotation(f"{where}: field 'bbox' has a negative width or height")
    return np.array([x, y, x + width, y + height], np.float32)
