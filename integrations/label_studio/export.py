"""Annotated tasks of a project, read to learn from, with the provenance of every keypoint.

Only the JSON export is read: Label Studio's COCO export merges the people of an image and loses visibility.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clickpose.annotations import ABSENT, AnnotatedImage, AnnotationSet, PersonAnnotation
from clickpose.errors import ClickPoseError, InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.label_studio.addresses import image_name
from integrations.label_studio.foreign import on_one_image
from integrations.label_studio.people import Person
from integrations.label_studio.provenance import KeypointRecord, Submission
from integrations.label_studio.schemas import MAX_SIDE_PX, clean_regions
from integrations.label_studio.submitted import read_submitted
from integrations.persons import area_from_box

SizeOf = Callable[[str], tuple[int, int]]


@dataclass(frozen=True)
class TaskAnnotation:
    """One submitted annotation: the image with its persons, the record of each keypoint, and what was left out.

    ``address`` is that of the image in Label Studio.
    """

    image: AnnotatedImage
    address: str
    annotation_id: int
    updated_at: str
    records: tuple[KeypointRecord, ...]
    flagged: tuple[str, ...]


@dataclass(frozen=True)
class Export:
    """The annotations of a project.

    Attributes:
        annotations: one for each annotated task that could be read.
        left_out: a sentence for each task, and each region of other tasks, that could not be read.
    """

    annotations: tuple[TaskAnnotation, ...]
    left_out: tuple[str, ...] = ()


def read_export(
    tasks: Iterable[Mapping[str, Any]],
    skeleton: Skeleton,
    *,
    image_key: str = "image",
    folders: Sequence[str] = (),
    size_of: SizeOf | None = None,
) -> Export:
    """Read every task that has been annotated, from a JSON export or from the API.

    Of several annotations of one task the ground truth is used, else the one saved last; cancelled ones never are.
    Tasks that cannot be read are left out.

    Args:
        tasks: with their annotations.
        skeleton: names the keypoints.
        image_key: the key of a task's data that holds the image.
        folders: on the server's disk, whose files the project shows; names of images are relative to them.
        size_of: returns an image's size in pixels by its address, if neither regions nor task contain it.
    """
    read, left_out = [], []
    for task in tasks:
        try:
            if (annotation := choose_annotation(task)) is None:
                continue
            read.append(
                read_annotation(task, annotation, skeleton, image_key=image_key, folders=folders, size_of=size_of)
            )
        except InvalidAnnotation as error:
            left_out.append(str(error))
        else:
            left_out += [f"task {task['id']}: {sentence}" for sentence in read[-1].flagged]
    return Export(tuple(read), tuple(left_out))


def once_per_image(export: Export) -> Export:
    """If several tasks show one image, keep the annotation saved last, and report the others as left out."""
    newest = {one.image.file_name: one for one in sorted(export.annotations, key=lambda one: one.updated_at)}
    kept = tuple(one for one in export.annotations if newest[one.image.file_name] is one)
    told = [
        f"task {one.image.id}: {name} is the image of task {newest[name].image.id}, too, which was saved later"
        for one in export.annotations
        if newest[name := one.image.file_name] is not one
    ]
    return Export(kept, (*export.left_out, *told))


def choose_annotation(task: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the annotation of a task that is used, or None if there is none yet.

    Raises:
        InvalidAnnotation: an export has only the ids of the annotations.
    """
    if not isinstance(task, Mapping):
        raise InvalidAnnotation(f"{str(task)[:50]!r} is no task")
    annotations = task.get("annotations") or []
    if not isinstance(annotations, list) or not all(isinstance(one, Mapping) for one in annotations):
        raise InvalidAnnotation(f"task {task.get('id')}: its 'annotations' are not in the file, only {annotations!r}")
    submitted = [one for one in annotations if not one.get("was_cancelled")]
    return max(submitted, key=lambda one: (bool(one.get("ground_truth")), str(one.get("updated_at"))), default=None)


def read_annotation(
    task: Mapping[str, Any],
    annotation: Mapping[str, Any],
    skeleton: Skeleton,
    *,
    image_key: str = "image",
    folders: Sequence[str] = (),
    size_of: SizeOf | None = None,
) -> TaskAnnotation:
    """Read one annotation of a task; see ``read_export``.

    Raises:
        InvalidAnnotation: an id, the image or its size is missing.
    """
    where = f"task {task.get('id')}, annotation {annotation.get('id')}"
    task_id, annotation_id = _whole(task, "id", where), _whole(annotation, "id", where)
    data = _data(task)
    file_name = image_name(data, image_key, folders)
    if file_name is None or not isinstance(data.get(image_key, ""), str):
        raise InvalidAnnotation(f"{where}: the task's data have no {image_key!r} that is the address of one image")
    _refuse_turned(annotation, where)
    size_wh = _size_wh(task, annotation) or _size_by_opening(task, image_key, size_of, where)
    people = read_submitted(annotation.get("result"), skeleton, size_wh)
    submission = Submission(task_id, annotation_id, annotation)
    image = AnnotatedImage(
        id=task_id,
        file_name=file_name,
        size_wh=size_wh,
        persons=tuple(_person(submission.person_id(n), p, skeleton) for n, p in people.persons.items()),
    )
    records = tuple(submission.records(people, skeleton))
    address = str(data.get(image_key) or file_name)
    return TaskAnnotation(image, address, annotation_id, submission.updated_at, records, people.flagged)


def to_annotation_set(annotations: Iterable[TaskAnnotation], skeleton: Skeleton) -> AnnotationSet:
    """Return the images of annotations as one data set."""
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


def _data(task: Mapping[str, Any]) -> Mapping[str, Any]:
    data = task.get("data")
    return data if isinstance(data, Mapping) else {}


def _refuse_turned(annotation: Mapping[str, Any], where: str) -> None:
    """Reject places on an image that was turned in the editor: which way they count is not part of the format."""
    turned = {region.get("image_rotation") or 0 for region in clean_regions(annotation.get("result"))} - {0}
    if turned:
        angle = f"{turned.pop()} degrees"
        raise InvalidAnnotation(f"{where}: the image was turned by {angle} in the editor: turn it back, and update")


def _size_wh(task: Mapping[str, Any], annotation: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the image's size as the browser saw it, else as noted at import, else None."""
    regions = on_one_image(clean_regions(annotation.get("result")), [])
    sizes = [(one.get("original_width"), one.get("original_height")) for one in regions]
    data = _data(task)
    sizes.append((data.get("width"), data.get("height")))
    whole = ((_side(width), _side(height)) for width, height in sizes)
    return next(((width, height) for width, height in whole if width and height), None)


def _side(value: Any) -> int:
    """Return a number of pixels, which tables write as a text and some tools as a float; 0 if it is none."""
    try:
        side = int(value) if float(value).is_integer() else 0
    except (TypeError, ValueError, OverflowError):
        return 0
    return side if 0 < side <= MAX_SIDE_PX else 0


def _size_by_opening(task: Mapping[str, Any], image_key: str, size_of: SizeOf | None, where: str) -> tuple[int, int]:
    unknown = f"{where}: the image's size is in no region, and the task's data have no 'width' and 'height'"
    if size_of is None:
        raise InvalidAnnotation(unknown)
    try:
        return size_of(str(_data(task).get(image_key)))
    except ClickPoseError as error:
        raise InvalidAnnotation(f"{unknown}; {error}") from error
