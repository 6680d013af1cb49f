"""Average precision of keypoints and boxes, by pycocotools, for any number of keypoints.

AP is the mean over OKS (or box IoU) thresholds .50:.05:.95, AP50 and AP75 hold at one threshold, AP_M and AP_L
count persons of 32^2..96^2 and of more square pixels, AR is recall. A value is -1 where nothing could be counted.
Crowds and persons without labelled keypoints are COCO's ignored regions: finding them neither helps nor harms.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from clickpose.annotations import AnnotatedImage, AnnotationSet, Floats, PersonAnnotation, Pose
from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton

PERSON_CATEGORY = 1
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
BOX_METRICS = ("AP", "AP50", "AP75", "AP_S", "AP_M", "AP_L", "AR1", "AR10", "AR", "AR_S", "AR_M", "AR_L")

Record = dict[str, Any]


def keypoint_ap(annotations: AnnotationSet, poses: Mapping[int, Sequence[Pose]]) -> dict[str, float]:
    """Return COCO's ten keypoint numbers, by the names in ``KEYPOINT_METRICS``; -1 where nothing was counted.

    Args:
        annotations: the truth; every image counts, also one that ``poses`` does not mention.
        poses: predicted persons by image id; COCO keeps the 20 of highest score in each image.

    Raises:
        InvalidAnnotation: ``poses`` has an image that is not in ``annotations``.
    """
    stats = _coco_stats(annotations, poses, "keypoints", _keypoint_record)
    return dict(zip(KEYPOINT_METRICS, stats, strict=True))


def box_ap(annotations: AnnotationSet, poses: Mapping[int, Sequence[Pose]]) -> dict[str, float]:
    """Return COCO's twelve numbers for the persons' boxes, by the names in ``BOX_METRICS``; see ``keypoint_ap``.

    Persons without labelled keypoints count here, crowds do not.
    """
    return dict(zip(BOX_METRICS, _coco_stats(annotations, poses, "bbox", _box_record), strict=True))


def image_ap(image: AnnotatedImage, skeleton: Skeleton, poses: Sequence[Pose]) -> float:
    """Return the keypoint AP of one image by itself; -1 if none of its persons counts."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = AnnotationSet(skeleton, (image,))
        evaluator = _evaluator(annotations, {image.id: poses}, "keypoints", _keypoint_record)
        evaluator.params.areaRng, evaluator.params.areaRngLbl = evaluator.params.areaRng[:1], ["all"]
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval["precision"]
    counted = precision[precision > -1]
    return float(counted.mean()) if counted.size else -1.0


def _coco_stats(
    annotations: AnnotationSet, poses: Mapping[int, Sequence[Pose]], kind: str, to_record: Callable[[Pose], Record]
) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluator = _evaluator(annotations, poses, kind, to_record)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [float(value) for value in evaluator.stats]


def _evaluator(
    annotations: AnnotationSet, poses: Mapping[int, Sequence[Pose]], kind: str, to_record: Callable[[Pose], Record]
) -> COCOeval:
    unknown = set(poses) - {image.id for image in annotations.images}
    if unknown:
        raise InvalidAnnotation(f"image {min(unknown)} has poses but no annotations; it is not in this data set")
    found = [to_record(pose) | {"image_id": id} for id, persons in poses.items() for pose in persons]
    truth = _coco(annotations, list(_truth_records(annotations)))
    evaluator = COCOeval(truth, _coco(annotations, found), kind)
    evaluator.params.kpt_oks_sigmas = np.asarray(annotations.skeleton.sigmas)
    return evaluator


def _coco(annotations: AnnotationSet, records: list[Record]) -> COCO:
    index = COCO()
    index.dataset = {
        "images": [{"id": image.id} for image in annotations.images],
        "categories": [{"id": PERSON_CATEGORY, "name": "person"}],
        # an id of 0 would read as "not matched"
        "annotations": [record | {"id": id} for id, record in enumerate(records, start=1)],
    }
    index.createIndex()
    return index


def _truth_records(annotations: AnnotationSet) -> Iterator[Record]:
    for image in annotations.images:
        for person in image.persons:
            yield _truth_record(person) | {"image_id": image.id}


def _truth_record(person: PersonAnnotation) -> Record:
    return {
        "category_id": PERSON_CATEGORY,
        "keypoints": np.column_stack([person.keypoints_px, person.visibility]).ravel().tolist(),
        "num_keypoints": person.num_labelled,
        "bbox": _xyxy_to_xywh(person.box_px),
        "area": person.area_px,
        "iscrowd": int(person.is_crowd),
    }


def _keypoint_record(pose: Pose) -> Record:
    # a keypoint result's size, which puts it in AP_M or AP_L, is that of the box around its keypoints
    spread_px = np.ptp(np.asarray(pose.keypoints_px, np.float64), axis=0)
    triples = np.column_stack([pose.keypoints_px, np.ones(len(pose.keypoints_px))])
    return _found_record(pose, float(spread_px.prod())) | {"keypoints": triples.ravel().tolist()}


def _box_record(pose: Pose) -> Record:
    _, _, width, height = _xyxy_to_xywh(pose.box_px)
    return _found_record(pose, width * height)


def _found_record(pose: Pose, area_px: float) -> Record:
    return {
        "category_id": PERSON_CATEGORY,
        "score": float(pose.score),
        "bbox": _xyxy_to_xywh(pose.box_px),
        "area": area_px,
        "iscrowd": 0,
    }


def _xyxy_to_xywh(box_px: Floats) -> list[float]:
    x0, y0, x1, y1 = (float(value) for value in box_px)
    return [x0, y0, x1 - x0, y1 - y0]
