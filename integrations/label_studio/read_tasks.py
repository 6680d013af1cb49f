"""Tasks as they were read, and the compact JSON that keeps them: reading a project again is slow, reading this is not.

Values that all keypoints of an annotation share are written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clickpose.annotations import AnnotatedImage, PersonAnnotation
from integrations.label_studio.export import Export, TaskAnnotation
from integrations.label_studio.provenance import KeypointRecord

FORMAT = 1  # change it whenever annotations are read or written differently: everything is then read again


@dataclass(frozen=True)
class ReadTask:
    """A task as it was read.

    Attributes:
        updated_at: when the task or one of its annotations was last changed, as Label Studio writes it.
        num_submitted: number of its annotations, without cancelled ones.
        export: those that may be used, and what was left out.
        has_only_draft: whether an annotation was begun and none was submitted.
    """

    updated_at: str
    num_submitted: int
    export: Export
    has_only_draft: bool = False

    def to_json(self) -> list[Any]:
        """Return plain values that ``from_json`` reads."""
        annotations = [_annotation_to_json(one) for one in self.export.annotations]
        return [self.updated_at, self.num_submitted, annotations, self.export.left_out, self.has_only_draft]

    @classmethod
    def from_json(cls, values: list[Any]) -> ReadTask:
        """Return the task that ``to_json`` wrote."""
        updated_at, num_submitted, annotations, left_out, has_only_draft = values
        export = Export(tuple(map(_annotation_from_json, annotations)), tuple(left_out))
        return cls(updated_at, num_submitted, export, has_only_draft)


def num_submitted(task: Mapping[str, Any]) -> int:
    """Return how many annotations of a task were submitted and not cancelled."""
    return sum(not one.get("was_cancelled") for one in task.get("annotations") or ())


def has_only_draft(task: Mapping[str, Any]) -> bool:
    """Tell whether an annotation of a task was begun, and none was submitted."""
    return bool(task.get("drafts")) and not task.get("annotations")


def joined(tasks: Iterable[ReadTask]) -> Export:
    """Return the annotations of several tasks as one export."""
    exports = [task.export for task in tasks]
    annotations = tuple(one for export in exports for one in export.annotations)
    return Export(annotations, tuple(sentence for export in exports for sentence in export.left_out))


def _annotation_to_json(one: TaskAnnotation) -> list[Any]:
    image, records = one.image, one.records
    shared = [records[0].user, records[0].lead_time_s] if records else ["", 0.0]
    return [
        [image.id, image.file_name, *image.size_wh, list(map(_person_to_json, image.persons))],
        [one.address, one.annotation_id, one.updated_at, one.flagged],
        shared,
        [[r.person_id, r.keypoint, r.source, r.visibility, r.model_version] for r in records],
    ]


def _annotation_from_json(values: list[Any]) -> TaskAnnotation:
    (task, file_name, width, height, persons), (address, annotation, updated_at, flagged), shared, rows = values
    user, lead_time_s = shared
    records = tuple(
        KeypointRecord(task, annotation, person, keypoint, source, visibility, user, model, lead_time_s, updated_at)
        for person, keypoint, source, visibility, model in rows
    )
    image = AnnotatedImage(task, file_name, (width, height), tuple(map(_person_from_json, persons)))
    return TaskAnnotation(image, address, annotation, updated_at, records, tuple(flagged))


def _person_to_json(person: PersonAnnotation) -> list[Any]:
    keypoints, visibility = person.keypoints_px.ravel().tolist(), person.visibility.tolist()
    return [person.id, keypoints, visibility, person.box_px.tolist(), person.area_px]


def _person_from_json(values: list[Any]) -> PersonAnnotation:
    number, keypoints, visibility, box, area = values
    return PersonAnnotation(
        id=number,
        keypoints_px=np.array(keypoints, np.float32).reshape(-1, 2),
        visibility=np.array(visibility, np.int64),
        box_px=np.array(box, np.float32),
        area_px=area,
    )
