"""Provenance: for every keypoint of an annotation, whether a human or a model placed it, and which one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from clickpose.annotations import ABSENT
from clickpose.skeleton import Skeleton
from integrations.label_studio.people import People
from integrations.label_studio.points import Point
from integrations.label_studio.schemas import MAX_PERSONS

Source = Literal["placed", "moved", "judged", "accepted", "deleted"]


@dataclass(frozen=True)
class KeypointRecord:
    """The origin of one keypoint of an annotation.

    Attributes:
        image_id: the task's id, which is the image's id in the data set.
        annotation_id: Label Studio's id of the annotation.
        person_id: the person's id in the data set.
        keypoint: name of the keypoint.
        source: ``placed`` by a click and held, ``moved`` by dragging, ``judged`` (its visibility was changed),
            ``accepted`` as predicted, or ``deleted``. Keypoints that were not shown have no record.
        visibility: 0 absent, 1 occluded, 2 visible.
        user: the annotator who submitted it.
        model_version: the model that placed the person's keypoints, empty if there was none.
        lead_time_s: seconds spent on the whole annotation.
        updated_at: when the annotation was last saved, as Label Studio writes it.
    """

    image_id: int
    annotation_id: int
    person_id: int
    keypoint: str
    source: Source
    visibility: int
    user: str
    model_version: str
    lead_time_s: float
    updated_at: str


@dataclass(frozen=True)
class Submission:
    """One submitted annotation, and what all its keypoints share."""

    task_id: int
    annotation_id: int
    annotation: Mapping[str, Any]

    @property
    def updated_at(self) -> str:
        """When the annotation was last saved, as Label Studio writes it."""
        return str(self.annotation.get("updated_at") or "")

    @property
    def user(self) -> str:
        """The annotator: an e-mail address if Label Studio gives it, else a user id."""
        by = self.annotation.get("completed_by")
        return str(by.get("email") or by.get("id") if isinstance(by, Mapping) else by or "")

    @property
    def started_from(self) -> str:
        """The model version of the prediction that the annotation started from."""
        prediction = self.annotation.get("prediction")
        return str(prediction.get("model_version") or "") if isinstance(prediction, Mapping) else ""

    @property
    def lead_time_s(self) -> float:
        """Seconds spent on the annotation; 0 if that is not known."""
        seconds = self.annotation.get("lead_time")
        return float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else 0.0

    def person_id(self, number: int) -> int:
        """Return an id that is unique in a data set and stays the same in every snapshot."""
        return self.annotation_id * MAX_PERSONS + number

    def records(self, people: People, skeleton: Skeleton) -> Iterable[KeypointRecord]:
        """Yield the record of every keypoint that was shown."""
        for number, person in people.persons.items():
            model = person.model_version or self.started_from
            for k, point in sorted(person.points.items()):
                yield self._record(number, skeleton.keypoints[k], source_of(point), point.visibility, model)
            for k in person.deleted(skeleton):
                yield self._record(number, skeleton.keypoints[k], "deleted", ABSENT, model)

    def _record(self, number: int, keypoint: str, source: Source, visibility: int, model: str) -> KeypointRecord:
        return KeypointRecord(
            image_id=self.task_id,
            annotation_id=self.annotation_id,
            person_id=self.person_id(number),
            keypoint=keypoint,
            source=source,
            visibility=visibility,
            user=self.user,
            model_version=model,
            lead_time_s=self.lead_time_s,
            updated_at=self.updated_at,
        )


def source_of(point: Point) -> Source:
    """Return the origin of a keypoint; a drag overrides an earlier click."""
    if point.moved:
        return "moved"
    if point.placed:
        return "placed"
    return "judged" if point.judged else "accepted"
