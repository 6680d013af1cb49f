"""One picture being corrected, one click at a time, and a record of what each refine did."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from clickpose.annotations import Click, PersonAnnotation, Pose
from clickpose.evaluation.annotators import SimulatedAnnotator
from clickpose.evaluation.clicks import Refine
from clickpose.evaluation.predictors import PosePredictor
from clickpose.evaluation.visits import Visit
from clickpose.oks import oks, within_tolerance
from clickpose.skeleton import Skeleton


@dataclass
class RefineLedger:
    """What refines did to the keypoints nobody placed, and to those somebody did."""

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

    def record_drift(self, placed_px: dict[tuple[int, int], tuple[float, float]], poses: list[Pose]) -> None:
        """Note how far the placed keypoints, ``{(person, keypoint): click}``, are from their clicks."""
        for (person, keypoint), click_px in placed_px.items():
            drift_px = np.linalg.norm(poses[person].keypoints_px[keypoint] - np.array(click_px))
            self.max_held_drift_px = max(self.max_held_drift_px, float(drift_px))


class Correction:
    """One picture being corrected by one annotator."""

    def __init__(
        self,
        predictor: PosePredictor,
        visit: Visit,
        annotator: SimulatedAnnotator,
        refine: Refine,
        ledger: RefineLedger,
    ) -> None:
        """Add the persons that the model missed."""
        self.skeleton = predictor.skeleton
        self.annotator, self.refine, self.ledger = annotator, refine, ledger
        self.placed_px: dict[tuple[int, int], tuple[float, float]] = {}
        self.poses = list(visit.shown)
        for box_px in annotator.find_missed(self.poses):
            self.poses = predictor.add_person(visit.encoded, self.poses, box_px)

    def correct_person(self, index: int, goal: float, cap: int) -> int:
        """Click on one person until its OKS reaches ``goal``; return the number of clicks, at most ``cap``."""
        for num_clicks in range(cap):
            click = None if self.reached(index, goal) else self.annotator.correct_person(self.poses, index)
            if click is None:
                return num_clicks
            self._place(click)
        return cap

    def reached(self, index: int, goal: float) -> bool:
        """Tell whether the OKS of one person is at least ``goal``."""
        return oks(self.poses[index].keypoints_px, self._person(index), self.skeleton.sigmas) >= goal

    def _person(self, index: int) -> PersonAnnotation:
        return self.annotator.persons[self.annotator.matches[index]]

    def _place(self, click: Click) -> None:
        before = self.poses[click.person]
        started_s = time.perf_counter()
        self.poses = self.refine(self.poses, [click])
        self.ledger.answers_ms.append(1000 * (time.perf_counter() - started_s))
        self.placed_px[click.person, self.skeleton.index(click.keypoint)] = click.xy_px
        placed = {keypoint for person, keypoint in self.placed_px if person == click.person}
        self.ledger.record_keypoints(self._person(click.person), before, self.poses[click.person], placed)
        self.ledger.record_drift(self.placed_px, self.poses)
