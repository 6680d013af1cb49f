"""One image being corrected, one click at a time, and the effect of each refine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from clickpose.annotations import Click, PersonAnnotation, Pose
from clickpose.evaluation.annotators import SimulatedAnnotator
from clickpose.evaluation.click_style import ClickStyle
from clickpose.evaluation.loop import Turn, one_at_a_time, take_turns
from clickpose.evaluation.predictors import Box, PosePredictor
from clickpose.oks import oks, within_tolerance
from clickpose.skeleton import Skeleton


@dataclass
class RefineLedger:
    """The effect of refines on free keypoints, and on placed ones."""

    skeleton: Skeleton
    tolerance: float
    num_within: int = 0
    num_harmed: int = 0
    num_outside: int = 0
    num_helped: int = 0
    max_held_drift_px: float = 0.0
    answers_ms: list[float] = field(default_factory=list)

    def record_keypoints(self, person: PersonAnnotation, before: Pose, after: Pose, placed: set[int]) -> None:
        """Count the free keypoints of one person that a refine brought out of tolerance, or into it."""
        free = person.visibility > 0
        free[list(placed)] = False
        was_within = within_tolerance(before.keypoints_px, person, self.skeleton.sigmas, self.tolerance)[free]
        is_within = within_tolerance(after.keypoints_px, person, self.skeleton.sigmas, self.tolerance)[free]
        self.num_within += int(was_within.sum())
        self.num_harmed += int((was_within & ~is_within).sum())
        self.num_outside += int((~was_within).sum())
        self.num_helped += int((~was_within & is_within).sum())

    def absorb(self, other: RefineLedger) -> None:
        """Add the refines of another ledger."""
        for name in ("num_within", "num_harmed", "num_outside", "num_helped"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.max_held_drift_px = max(self.max_held_drift_px, other.max_held_drift_px)
        self.answers_ms += other.answers_ms

    def record_drift(self, placed_px: dict[tuple[int, int], tuple[float, float]], poses: list[Pose]) -> None:
        """Record how far the placed keypoints, ``{(person, keypoint): click}``, are from their clicks."""
        for (person, keypoint), click_px in placed_px.items():
            drift_px = np.linalg.norm(poses[person].keypoints_px[keypoint] - np.array(click_px))
            self.max_held_drift_px = max(self.max_held_drift_px, float(drift_px))


class Answers:
    """A predictor's answers on one image; repeated requests are answered from memory.

    Persons are independent (``PosePredictor``), so an answer depends on the clicked pose and the click alone.
    """

    def __init__(self, predictor: PosePredictor, encoded: Any, style: ClickStyle) -> None:
        """Answer with ``predictor``, and with the hold of ``style``."""
        self.predictor, self.encoded = predictor, encoded
        self._refine = style.refiner(predictor, encoded)
        self._refined: dict[tuple[Pose, Click], tuple[Pose, float]] = {}
        self._added: dict[Box, Pose] = {}
        self._added_at: dict[tuple[str | int, tuple[float, float]], Pose] = {}

    def refine(self, poses: Sequence[Pose], clicks: Sequence[Click]) -> list[Pose]:
        """Return the poses after a single click."""
        (click,) = clicks
        answer, _ = self._answer(poses, click)
        return [*poses[: click.person], answer, *poses[click.person + 1 :]]

    def answer_ms(self, poses: Sequence[Pose], click: Click) -> float:
        """Return how many ms the predictor took for a click."""
        return self._answer(poses, click)[1]

    def _answer(self, poses: Sequence[Pose], click: Click) -> tuple[Pose, float]:
        question = poses[click.person], click
        if question not in self._refined:
            started_s = time.perf_counter()
            answer = self._refine(poses, [click])[click.person]
            self._refined[question] = answer, 1000 * (time.perf_counter() - started_s)
        return self._refined[question]

    def add_person(self, poses: Sequence[Pose], box_px: Box) -> list[Pose]:
        """Return the poses and, last, the person in the box."""
        if box_px not in self._added:
            self._added[box_px] = self.predictor.add_person(self.encoded, poses, box_px)[-1]
        return [*poses, self._added[box_px]]

    def add_person_at(self, poses: Sequence[Pose], click: Click) -> list[Pose]:
        """Return the poses and, last, the person whose keypoint was placed."""
        if (click.keypoint, click.xy_px) not in self._added_at:
            added = self.predictor.add_person_at(self.encoded, poses, click.keypoint, click.xy_px)[-1]
            self._added_at[click.keypoint, click.xy_px] = added
        return [*poses, self._added_at[click.keypoint, click.xy_px]]


class Correction:
    """One image being corrected by one annotator."""

    def __init__(
        self,
        answers: Answers,
        shown: Sequence[Pose],
        annotator: SimulatedAnnotator,
        ledger: RefineLedger,
        *,
        add: str = "box",
    ) -> None:
        """Add the persons that the model missed to those ``shown``, by a box or by a click."""
        self.answers, self.annotator, self.ledger = answers, annotator, ledger
        self.skeleton = annotator.skeleton
        self.placed_px: dict[tuple[int, int], tuple[float, float]] = {}
        self.poses = list(shown)
        for box_px in annotator.find_missed(self.poses):
            if add == "box":
                self.poses = answers.add_person(self.poses, box_px)
            else:
                self._add_by_click(len(self.poses))

    def _add_by_click(self, index: int) -> None:
        click = self.annotator.first_click(index)
        self.poses = self.answers.add_person_at(self.poses, click)
        self.placed_px[index, self.skeleton.index(click.keypoint)] = click.xy_px

    def correct_person(self, index: int, goal: float, cap: int) -> int:
        """Click on one person until its OKS reaches ``goal``; return the number of clicks, at most ``cap``."""
        num_clicks, next_click = 0, one_at_a_time(partial(self._next_click, index=index, goal=goal))
        for turn in islice(take_turns(self.poses, next_click, self.answers.refine), cap):
            self.poses, num_clicks = turn.poses, num_clicks + 1
            self._record(turn)
        return num_clicks

    def reached(self, index: int, goal: float) -> bool:
        """Tell whether the OKS of one person is at least ``goal``."""
        return self._is_good(self.poses[index], index, goal)

    def _is_good(self, pose: Pose, index: int, goal: float) -> bool:
        return oks(pose.keypoints_px, self._person(index), self.skeleton.sigmas) >= goal

    def _next_click(self, poses: Sequence[Pose], index: int, goal: float) -> Click | None:
        return None if self._is_good(poses[index], index, goal) else self.annotator.correct_person(poses, index)

    def _person(self, index: int) -> PersonAnnotation:
        return self.annotator.persons[self.annotator.matches[index]]

    def _record(self, turn: Turn) -> None:
        (click,) = turn.clicks
        self.ledger.answers_ms.append(self.answers.answer_ms(turn.before, click))
        self.placed_px[click.person, self.skeleton.index(click.keypoint)] = click.xy_px
        placed = {keypoint for person, keypoint in self.placed_px if person == click.person}
        before, after = turn.before[click.person], turn.poses[click.person]
        self.ledger.record_keypoints(self._person(click.person), before, after, placed)
        self.ledger.record_drift(self.placed_px, turn.poses)
