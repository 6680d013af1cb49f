"""The cost of annotating by Label Studio's clock: seconds per person, and seconds per click (table 1 of the paper).

Every submitted annotation counts, also several of one task, by different annotators. The clock (``lead_time``) runs
while a task is open: it includes looking, finding missed persons and pauses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import TypeAlias

from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.label_studio.export import TaskAnnotation, read_export
from integrations.label_studio.provenance import KeypointRecord
from integrations.records import load_json

logger = logging.getLogger(__name__)

Records: TypeAlias = tuple[KeypointRecord, ...]  # those of one annotation


@dataclass(frozen=True)
class AnnotationTimes:
    """The cost of annotations that started from the same model; None without anything to divide by.

    Attributes:
        model_version: the model that placed the keypoints; empty without one.
        annotator: who made them; empty for all annotators together.
        num_annotations: annotations with a time.
        num_untimed: annotations without one; they are in no other number.
        num_persons: persons in them.
        num_clicks: keypoints that a human placed, moved, judged or deleted.
        seconds: spent on them.
        mean_s: seconds per person of an annotation, averaged over annotations.
        deviation_s: standard deviation of the same over annotations, if there are several.
        deviation_of_annotators_s: standard deviation of the annotators' means, if there are several.
    """

    model_version: str
    annotator: str
    num_annotations: int
    num_untimed: int
    num_persons: int
    num_clicks: int
    seconds: float
    mean_s: float | None
    deviation_s: float | None
    deviation_of_annotators_s: float | None = None

    @property
    def seconds_per_person(self) -> float | None:
        """Seconds per person, with or without clicks."""
        return self.seconds / self.num_persons if self.num_persons else None

    @property
    def seconds_per_click(self) -> float | None:
        """Seconds per click: all the time, divided by the clicks."""
        return self.seconds / self.num_clicks if self.num_clicks else None

    @property
    def clicks_per_person(self) -> float | None:
        """Clicks per person: keypoints that a human set."""
        return self.num_clicks / self.num_persons if self.num_persons else None

    def to_dict(self) -> dict[str, float | str | None]:
        """Plain values for JSON."""
        return asdict(self) | {
            "seconds_per_person": self.seconds_per_person,
            "seconds_per_click": self.seconds_per_click,
            "clicks_per_person": self.clicks_per_person,
        }


def read_times(path: str | Path, skeleton: Skeleton) -> list[AnnotationTimes]:
    """Read a JSON export of Label Studio and add up its times, as ``annotation_times`` does.

    A task that cannot be read is left out, and logged.

    Raises:
        InvalidAnnotation: the file is not a JSON export.
    """
    tasks = load_json(path)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) and "annotations" in task for task in tasks):
        raise InvalidAnnotation(
            f"{path} is not a JSON export of Label Studio: a list of tasks with their 'annotations' is expected"
        )
    export = read_export([{**task, "annotations": [one]} for task in tasks for one in task["annotations"]], skeleton)
    for sentence in export.left_out:
        logger.warning("%s: left out: %s", path, sentence)
    return annotation_times(export.annotations)


def annotation_times(annotations: Iterable[TaskAnnotation]) -> list[AnnotationTimes]:
    """Add up the times of annotations, for each model version that they started from, by name.

    If several annotators started from a model, each has a row of their own behind that of all. An annotation with
    several versions counts for the one that placed most of its keypoints; one without persons is left out.
    """
    by_model: dict[str, dict[str, list[Records]]] = {}
    for records in (one.records for one in annotations if one.records):
        by_model.setdefault(_model_version(records), {}).setdefault(records[0].user, []).append(records)
    return [times for version in sorted(by_model) for times in _of_model(version, by_model[version])]


def _of_model(version: str, by_annotator: Mapping[str, list[Records]]) -> list[AnnotationTimes]:
    together = _add_up(version, "", [records for found in by_annotator.values() for records in found])
    if len(by_annotator) == 1:
        return [together]
    each = [_add_up(version, name, by_annotator[name]) for name in sorted(by_annotator)]
    means = [times.mean_s for times in each if times.mean_s is not None]
    return [replace(together, deviation_of_annotators_s=_deviation(means)), *each]


def _model_version(records: Records) -> str:
    versions = [record.model_version for record in records]
    return max(sorted(set(versions)), key=versions.count)


def _add_up(version: str, annotator: str, annotations: Sequence[Records]) -> AnnotationTimes:
    timed = [records for records in annotations if records[0].lead_time_s > 0]
    seconds, persons = [records[0].lead_time_s for records in timed], [_num_persons(records) for records in timed]
    per_person = [s / n for s, n in zip(seconds, persons, strict=True)]
    return AnnotationTimes(
        model_version=version,
        annotator=annotator,
        num_annotations=len(timed),
        num_untimed=len(annotations) - len(timed),
        num_persons=sum(persons),
        num_clicks=sum(record.source != "accepted" for records in timed for record in records),
        seconds=sum(seconds),
        mean_s=mean(per_person) if per_person else None,
        deviation_s=_deviation(per_person),
    )


def _num_persons(records: Records) -> int:
    return len({record.person_id for record in records})


def _deviation(values: Sequence[float]) -> float | None:
    return stdev(values) if len(values) > 1 else None
