"""The cost of annotating by Label Studio's clock: seconds per person, and seconds per click.

The clock (``lead_time``) runs while a task is open: it includes looking, finding missed persons and pauses.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from clickpose.errors import InvalidAnnotation
from clickpose.skeleton import Skeleton
from integrations.label_studio.provenance import KeypointRecord
from integrations.label_studio.tasks import TaskAnnotation, read_export
from integrations.records import load_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnnotationTimes:
    """The cost of annotations that started from the same model; None without anything to divide by.

    Attributes:
        model_version: the model that placed the keypoints; empty without one.
        num_annotations: annotations with a time.
        num_untimed: annotations without one; they are in no other number.
        num_persons: persons in them.
        num_clicks: keypoints that a human placed, moved, judged or deleted.
        seconds: spent on them.
    """

    model_version: str
    num_annotations: int
    num_untimed: int
    num_persons: int
    num_clicks: int
    seconds: float

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
    export = read_export(tasks, skeleton)
    for sentence in export.left_out:
        logger.warning("%s: left out: %s", path, sentence)
    return annotation_times(export.annotations)


def annotation_times(annotations: Iterable[TaskAnnotation]) -> list[AnnotationTimes]:
    """Add up the times of annotations, for each model version that they started from, by name.

    An annotation with several versions counts for the one that placed most of its keypoints; one without persons is
    left out.
    """
    by_model = sorted((_model_version(one.records), index, one) for index, one in enumerate(annotations) if one.records)
    return [
        _add_up(version, [one for _, _, one in group]) for version, group in groupby(by_model, key=lambda item: item[0])
    ]


def _model_version(records: Sequence[KeypointRecord]) -> str:
    versions = [record.model_version for record in records]
    return max(sorted(set(versions)), key=versions.count)


def _add_up(version: str, annotations: Sequence[TaskAnnotation]) -> AnnotationTimes:
    timed = [one.records for one in annotations if one.records[0].lead_time_s > 0]
    return AnnotationTimes(
        model_version=version,
        num_annotations=len(timed),
        num_untimed=len(annotations) - len(timed),
        num_persons=sum(len({record.person_id for record in records}) for records in timed),
        num_clicks=sum(record.source != "accepted" for records in timed for record in records),
        seconds=sum(records[0].lead_time_s for records in timed),
    )
