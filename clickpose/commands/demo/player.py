"""An annotator who knows the truth and does everything through Label Studio's own HTTP interface.

She does what the editor does: a smart click sends every point of the same name together with the click, a smart box
every box; the answer replaces regions of the same id; what she drew vanishes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from clickpose.annotations import AnnotatedImage, Click, Pose
from clickpose.clicks import apply_clicks
from clickpose.errors import LabelStudioError
from clickpose.evaluation import SimulatedAnnotator
from clickpose.evaluation.loop import one_at_a_time, take_turns
from clickpose.skeleton import Skeleton
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.simulated_editor import SimulatedEditor

CLICKS_TO_ADD_PERSON = 2
CLICKS_TO_DELETE_PERSON = 1
REACHED_PX = 0.5  # percent and back costs less


@dataclass
class AnnotationCost:
    """The annotator's costs of some images.

    Attributes:
        persons: persons annotated.
        clicks: clicks with the model's help; adding a person counts 2, deleting a stray pose 1.
        undone: clicks that reached another person nearby, and were undone and replaced by a drag; they count twice.
        manual_clicks: clicks to correct the same predictions by hand.
        answers_ms: time of each answer, as she sees it.
        failed_requests: requests without an answer.
        models: model versions of the predictions she saw.
    """

    persons: int = 0
    clicks: int = 0
    undone: int = 0
    manual_clicks: int = 0
    answers_ms: list[float] = field(default_factory=list)
    failed_requests: int = 0
    models: set[str] = field(default_factory=set)

    def add(self, other: AnnotationCost) -> None:
        """Add another image's costs to these."""
        self.persons += other.persons
        self.clicks += other.clicks
        self.undone += other.undone
        self.manual_clicks += other.manual_clicks
        self.answers_ms += other.answers_ms
        self.failed_requests += other.failed_requests
        self.models |= other.models

    def per_person(self, clicks: int) -> float:
        """Clicks per person."""
        return clicks / max(1, self.persons)


@dataclass(frozen=True)
class Corrected:
    """An image that was worked through: its cost, and the poses at first, after the first click, and at last."""

    cost: AnnotationCost
    first: Sequence[Pose]
    after_one: Sequence[Pose]
    last: Sequence[Pose]


class Player:
    """Works on one image at a time.

    Args:
        label_studio: where the tasks are.
        backend: id of the interactive ML backend.
        skeleton: of the labelling interface.
    """

    def __init__(self, label_studio: LabelStudio, backend: int, skeleton: Skeleton) -> None:
        self.label_studio, self.backend, self.skeleton = label_studio, backend, skeleton

    def annotate(self, task: int, truth: AnnotatedImage, *, submit: bool) -> Corrected:
        """Correct a task's prediction, worst keypoint first, until every keypoint is within tolerance.

        Args:
            task: id of the task.
            truth: in the skeleton of the labelling interface.
            submit: submit the annotation; else leave the task as it was.
        """
        began, record = time.monotonic(), self.label_studio.task(task)
        prediction = newest_prediction(record)
        screen, cost = SimulatedEditor(prediction["result"], truth.size_wh, self.skeleton), AnnotationCost()
        cost.models.add(str(prediction["model_version"]))
        first, annotator = screen.poses(), SimulatedAnnotator(truth, self.skeleton)

        boxes = annotator.find_missed(first)
        cost.persons = len(annotator.persons)
        cost.manual_clicks = count_manual_clicks(first, annotator)
        for box in boxes:
            cost.clicks += CLICKS_TO_ADD_PERSON
            drawn = screen.drawn_box(box)
            self._ask(task, screen, {"result": [*screen.like(drawn), drawn]}, cost)
        annotator.matches = {i: person for i, person in annotator.matches.items() if i < len(screen.poses())}
        patience = 2 * len(self.skeleton) * max(1, len(annotator.persons))  # twice what it takes by hand
        after: list[Sequence[Pose]] = []
        for turn in take_turns(
            screen.poses(), one_at_a_time(annotator.correct), partial(self._answer, task, screen, cost)
        ):
            after.append(turn.poses)
            if cost.clicks >= patience:
                break

        strays = sorted(set(range(len(first))) - set(annotator.matches))
        cost.clicks += CLICKS_TO_DELETE_PERSON * len(strays)
        cost.manual_clicks += CLICKS_TO_DELETE_PERSON * len(strays)
        if submit:
            persons = {index: annotator.persons[person] for index, person in annotator.matches.items()}
            result = screen.submitted(persons)
            lead_time_s = time.monotonic() - began
            self.label_studio.submit_annotation(task, result, prediction=prediction["id"], lead_time_s=lead_time_s)
        last = screen.poses()
        return Corrected(cost, first, after[0] if after else last, last)

    def _answer(
        self, task: int, screen: SimulatedEditor, cost: AnnotationCost, poses: Sequence[Pose], clicks: Sequence[Click]
    ) -> list[Pose]:
        for click in clicks:
            self._click(task, screen, click, cost)
        return screen.poses()

    def _click(self, task: int, screen: SimulatedEditor, click: Click, cost: AnnotationCost) -> None:
        """Ctrl-click; if it reached another person nearby, undo it and drag the point instead."""
        cost.clicks += 1
        before, keypoint = screen.regions, self.skeleton.index(click.keypoint)
        drawn = screen.drawn_point(keypoint, click.xy_px)
        self._ask(task, screen, {"result": [*screen.like(drawn), drawn], "focus": click.person}, cost)
        poses = screen.poses()
        if not np.allclose(poses[click.person].keypoints_px[keypoint], click.xy_px, atol=REACHED_PX):
            cost.clicks += 1
            cost.undone += 1
            screen.regions = before
            self._ask(task, screen, screen.dragged(click.person, keypoint, click.xy_px), cost)

    def _ask(self, task: int, screen: SimulatedEditor, context: Mapping[str, Any], cost: AnnotationCost) -> None:
        """Send a request to the backend through Label Studio, and apply the answer."""
        asked_at = time.monotonic()
        try:
            answer = self.label_studio.ask_backend(self.backend, task, context)
        except LabelStudioError:
            cost.failed_requests += 1
            return
        cost.answers_ms.append(1000 * (time.monotonic() - asked_at))
        screen.accept(answer)


def count_manual_clicks(poses: Sequence[Pose], annotator: SimulatedAnnotator) -> int:
    """Clicks to correct poses by hand: a drag for each keypoint off, and every keypoint of a person who is missing."""
    clicks = 0
    for index, person in annotator.matches.items():
        if index >= len(poses):
            clicks += CLICKS_TO_ADD_PERSON + annotator.persons[person].num_labelled
            continue
        alone = dataclasses.replace(annotator)
        alone.matches = {0: person}
        move = partial(apply_clicks, skeleton=annotator.skeleton, size_wh=annotator.image.size_wh)
        clicks += sum(1 for _ in take_turns([poses[index]], one_at_a_time(alone.correct), move))
    return clicks


def newest_prediction(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a task's latest prediction.

    Raises:
        LabelStudioError: it has none.
    """
    if not record.get("predictions"):
        raise LabelStudioError(f"task {record.get('id')} has no prediction to correct")
    return max(record["predictions"], key=lambda prediction: prediction["id"])
