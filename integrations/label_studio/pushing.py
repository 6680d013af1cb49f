"""Push pre-labelled images to a project; repeated, it creates each task once, and one prediction per model.

A prediction of the same model with other poses shows that the image was replaced under its name: it is replaced, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean
from typing import Any, NamedTuple

from clickpose.annotations import Pose
from clickpose.errors import LabelStudioError
from clickpose.skeleton import Skeleton
from integrations.label_studio.addresses import name_in_url
from integrations.label_studio.client import IMPORT_SIZE, LabelStudio
from integrations.label_studio.tasks import make_prediction, make_task

Outline = tuple[int, float, float]
DRAWN = ("keypointlabels", "rectanglelabels")
MAX_DIFFERENCE_PCT = 0.5  # of the image; the same model finds the same poses on every machine, up to rounding

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PredictedImage:
    """An image by its name below the root, its address, its size, and the poses that a model found.

    ``score`` orders tasks as ``make_prediction`` says.
    """

    name: str
    address: str
    size_wh: tuple[int, int]
    poses: Sequence[Pose]
    model_version: str
    score: float | None = None


@dataclass(frozen=True)
class Pushed:
    """The number of new tasks, of new and of replaced predictions, and of tasks that already had theirs."""

    tasks: int
    predictions: int
    replaced: int
    unchanged: int


def push(client: LabelStudio, project: int, images: Iterable[PredictedImage], skeleton: Skeleton) -> Pushed:
    """Create a task for every image without one, add missing predictions, replace outdated ones, and show them.

    Args:
        client: of the server.
        project: its id.
        images: all by the same model.
        skeleton: names the keypoints of their poses.

    Raises:
        LabelStudioError: two images have the same name, or poses are of another skeleton.
    """
    image_key = client.image_key(project)
    known, remaining = _KnownTasks(client, project, image_key), iter(images)
    tasks = predictions = replaced = unchanged = 0
    while chunk := list(islice(remaining, IMPORT_SIZE)):
        new: list[dict[str, Any]] = []
        again: list[dict[str, Any]] = []
        for image in chunk:
            prediction = _predict(image, skeleton)
            task = known.find(image)
            if task is None:
                new.append(_make_task(image, prediction, image_key))
            elif (shown := known.predictions[task].get(image.model_version)) is None:
                again.append({**prediction, "task": task})
            elif _differ(shown.outline, _outline(prediction)):
                client.replace_prediction(shown.id, {**prediction, "task": task})
                known.warn_if_annotated(task, image.name)
                replaced += 1
            else:
                unchanged += 1
        client.import_tasks(project, new)
        client.add_predictions(project, again)
        tasks, predictions = tasks + len(new), predictions + len(again)
        client.show_predictions_of(project, chunk[-1].model_version)
    return Pushed(tasks, predictions, replaced, unchanged)


def _make_task(image: PredictedImage, prediction: Mapping[str, Any], image_key: str) -> dict[str, Any]:
    return make_task(image.address, image.size_wh, file_name=image.name, predictions=[prediction], image_key=image_key)


def _predict(image: PredictedImage, skeleton: Skeleton) -> dict[str, Any]:
    if any(len(pose.visibility) != len(skeleton) for pose in image.poses):
        raise LabelStudioError(
            f"{image.name}: its poses do not have the {len(skeleton)} keypoints of skeleton {skeleton.name!r}:"
            " give the model that made them"
        )
    return make_prediction(image.poses, skeleton, image.size_wh, model_version=image.model_version, score=image.score)


def _outline(prediction: Mapping[str, Any]) -> Outline:
    """Return how many regions a prediction has, and the middle of them in percent."""
    values = [one["value"] for one in prediction.get("result") or () if one.get("type") in DRAWN]
    x, y = (fmean(float(value[axis]) for value in values) if values else 0.0 for axis in ("x", "y"))
    return len(values), x, y


def _differ(one: Outline, other: Outline) -> bool:
    return one[0] != other[0] or max(abs(one[1] - other[1]), abs(one[2] - other[2])) > MAX_DIFFERENCE_PCT


class _Shown(NamedTuple):
    id: int
    outline: Outline


class _KnownTasks:
    """The tasks of a project by the name of their image; those that were not pushed from here, by its address."""

    def __init__(self, client: LabelStudio, project: int, image_key: str) -> None:
        self.by_name: dict[str, tuple[int, str]] = {}
        self.by_address: dict[str, int] = {}
        self.predictions: dict[int, dict[str, _Shown]] = {}
        self.annotated = set[int]()
        for task in client.tasks(project):
            number, data = int(task["id"]), task.get("data") or {}
            address = name_in_url(str(data.get(image_key)))
            if data.get("file_name"):
                self.by_name.setdefault(str(data["file_name"]), (number, address))
            else:
                self.by_address.setdefault(address, number)
            self.predictions[number] = {
                str(one.get("model_version")): _Shown(int(one["id"]), _outline(one)) for one in task["predictions"]
            }
            if task.get("annotations"):
                self.annotated.add(number)

    def find(self, image: PredictedImage) -> int | None:
        """Return the task of an image, or None if there is none yet.

        Raises:
            LabelStudioError: a task, or another image of this push, has the same name and another address.
        """
        address = name_in_url(image.address)
        number, shown = self.by_name.get(image.name, (None, address))
        if shown != address:
            where = f"task {number}" if number else "another image"
            raise LabelStudioError(
                f"{where} is called {image.name}, too, and shows {shown}, not {address}:"
                " pre-label both under one folder, or push them to different projects"
            )
        self.by_name[image.name] = (number or 0, address)
        return number or self.by_address.get(address)

    def warn_if_annotated(self, task: int, name: str) -> None:
        """Log that a task was annotated before its image was replaced."""
        if task in self.annotated:
            logger.warning("task %d was annotated before its image %s was replaced: check the annotation", task, name)
