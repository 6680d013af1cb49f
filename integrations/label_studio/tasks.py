"""Label Studio tasks: pictures with predictions to import, and annotations to learn from, with who did what.

Only the JSON export is read: Label Studio's COCO export merges the people of a picture and loses visibility.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from clickpose.annotations import ABSENT, AnnotatedImage, AnnotationSet, PersonAnnotation, Pose
from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.label_studio.people import Person, read_people
from integrations.label_studio.provenance import KeypointRecord, Submission
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.schemas import clean_regions
from integrations.label_studio.service import is_gap
from integrations.persons import area_from_box


@dataclass(frozen=True)
class TaskAnnotation:
    """One submitted annotation: the picture with its persons, the record of each keypoint, and what was left out."""

    image: AnnotatedImage
    annotation_id: int
    updated_at: str
    records: tuple[KeypointRecord, ...]
    flagged: tuple[str, ...]


def make_task(
    image_url: str,
    size_wh: tuple[int, int],
    *,
    file_name: str,
    predictions: Sequence[Mapping[str, Any]] = (),
    image_key: str = "image",
) -> dict[str, Any]:
    """Return a task to import; its data hold the picture's size, so that a picture without people keeps one."""
    data = {image_key: image_url, "file_name": file_name, "width": size_wh[0], "height": size_wh[1]}
    return {"data": data, "predictions": [dict(prediction) for prediction in predictions]}


def make_prediction(
    poses: Sequence[Pose],
    skeleton: Skeleton,
    size_wh: tuple[int, int],
    *,
    model_version: str,
    score: float | None = None,
) -> dict[str, Any]:
    """Return a prediction to import with a task, or to answer with.

    Args:
        poses: every person of the picture.
        skeleton: names the keypoints.
        size_wh: size in pixels of the upright picture.
        model_version: which Label Studio groups predictions by.
        score: with uncertainty sampling the lowest comes first; None means the mean confidence of the keypoints.
    """
    return {
        "model_version": model_version,
        "score": mean_confidence(poses) if score is None else score,
        "result": poses_to_result(poses, skeleton, size_wh, model_version=model_version),
    }


def mean_confidence(poses: Sequence[Pose]) -> float:
    """Return the mean confidence of all keypoints in [0, 1]; 0 if nobody was found."""
    found = [pose.scores.mean() for pose in poses if not is_gap(pose)]
    return float(np.mean(found)) if found else 0.0


def read_export(
    tasks: Iterable[Mapping[str, Any]], skeleton: Skeleton, *, image_key: str = "image"
) -> list[TaskAnnotation]:
    """Read every task that has been annotated, from a JSON export or from the API.

    Of several annotations of one task the ground truth counts, else the one saved last; cancelled ones never do.

    Raises:
        InvalidAnnotation: a task or annotation lacks what must be there.
    """
    chosen = ((task, choose_annotation(task)) for task in tasks)
    return [read_annotation(task, one, skeleton, image_key=image_key) for task, one in chosen if one is not None]


def choose_annotation(task: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the annotation of a task that counts, or None if there is none yet."""
    submitted = [one for one in task.get("annotations") or () if not one.get("was_cancelled")]
    return max(submitted, key=lambda one: (bool(one.get("ground_truth")), str(one.get("updated_at"))), default=None)


def read_annotation(
    task: Mapping[str, Any], annotation: Mapping[str, Any], skeleton: Skeleton, *, image_key: str = "image"
) -> TaskAnnotation:
    """Read one annotation of a task.

    Raises:
        InvalidAnnotation: an id, the picture or its size is missing.
    """
    where = f"task {task.get('id')}, annotation {annotation.get('id')}"
    task_id, annotation_id = _whole(task, "id", where), _whole(annotation, "id", where)
    people = read_people(clean_regions(annotation.get("result")), skeleton)
    submission = Submission(task_id, annotation_id, annotation)
    image = AnnotatedImage(
        id=task_id,
        file_name=_file_name(task, image_key, where),
        size_wh=_size_wh(task, annotation, where),
        persons=tuple(_person(submission.person_id(n), p, skeleton) for n, p in people.persons.items()),
    )
    records = tuple(submission.records(people, skeleton))
    return TaskAnnotation(image, annotation_id, submission.updated_at, records, people.flagged)


def to_annotation_set(annotations: Iterable[TaskAnnotation], skeleton: Skeleton) -> AnnotationSet:
    """Return the pictures of annotations as one data set."""
    return AnnotationSet(skeleton, tuple(annotation.image for annotation in annotations))


def _person(person_id: int, person: Person, skeleton: Skeleton) -> PersonAnnotation:
    pose = person.pose(skeleton)
    return PersonAnnotation(
        id=person_id,
        keypoints_px=np.where(pose.visibility[:, None] > ABSENT, pose.keypoints_px, 0).astype(np.float32),
        visibility=pose.visibility,
        box_px=pose.box_px,
        area_px=area_from_box(pose.box_px),
    )


def _whole(record: Mapping[str, Any], name: str, where: str) -> int:
    if not isinstance(record.get(name), int):
        raise InvalidAnnotation(f"{where}: field {name!r} is {record.get(name)!r}, an integer is expected")
    return int(record[name])


def _file_name(task: Mapping[str, Any], image_key: str, where: str) -> str:
    """Return the name our import gave, else what the picture's address says."""
    data = task.get("data") or {}
    if not data.get("file_name") and not data.get(image_key):
        raise InvalidAnnotation(f"{where}: the task's data have no {image_key!r}")
    return str(data.get("file_name") or name_in_url(str(data[image_key])))


def name_in_url(image_url: str) -> str:
    """Return the file a picture's address names: the ``d`` of a local-files address, else its path."""
    parts = urlsplit(image_url)
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path).lstrip("/")


def _size_wh(task: Mapping[str, Any], annotation: Mapping[str, Any], where: str) -> tuple[int, int]:
    """Return the picture's size as the browser saw it, else as our import noted it."""
    for region in clean_regions(annotation.get("result")):
        if region.get("original_width") and region.get("original_height"):
            return int(region["original_width"]), int(region["original_height"])
    data = task.get("data") or {}
    if not data.get("width") or not data.get("height"):
        raise InvalidAnnotation(f"{where}: there are no regions, and the task's data have no 'width' and 'height'")
    return int(data["width"]), int(data["height"])
