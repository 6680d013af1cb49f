"""Predictions as a COCO keypoint file, as other tools open it: each person carries a ``score`` beside COCO's fields."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import IO, Any

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.coco import PERSON_CATEGORY, category_record, flat, xywh
from integrations.persons import area_from_box

PredictedImage = tuple[str, tuple[int, int], Sequence[Pose]]


def write_predictions(images: Iterable[PredictedImage], skeleton: Skeleton, path: str | Path) -> None:
    """Write a file that appears when it is complete; images are taken one by one, and never kept.

    Args:
        images: of each the file name, width and height, and the poses.
        skeleton: names the keypoints.
        path: of the file.
    """
    partial, ids = Path(f"{path}.partial"), count(1)
    with partial.open("w") as file, tempfile.TemporaryFile("w+") as people:
        file.write(f'{{"categories": {json.dumps([category_record(skeleton)])},\n"images": [')
        for image_id, (file_name, (width, height), poses) in enumerate(images, start=1):
            _write(file, {"id": image_id, "file_name": file_name, "width": width, "height": height}, image_id == 1)
            for pose in poses:
                person_id = next(ids)
                _write(people, _person(pose, person_id, image_id), person_id == 1)
        file.write('],\n"annotations": [')
        people.seek(0)
        while block := people.read(2**20):
            file.write(block)
        file.write("]}\n")
    os.replace(partial, path)


def _write(file: IO[str], record: dict[str, Any], is_first: bool) -> None:
    file.write(("\n" if is_first else ",\n") + json.dumps(record, allow_nan=False))


def _person(pose: Pose, person_id: int, image_id: int) -> dict[str, Any]:
    return {
        "id": person_id,
        "image_id": image_id,
        "category_id": PERSON_CATEGORY,
        "keypoints": flat(pose.keypoints_px.round(2), pose.visibility),
        "num_keypoints": int((pose.visibility > 0).sum()),
        "bbox": xywh(pose.box_px.round(2)),
        "area": round(area_from_box(pose.box_px), 2),
        "iscrowd": 0,
        "score": round(float(pose.score), 4),
        "keypoint_scores": pose.scores.astype(float).round(4).tolist(),
    }
