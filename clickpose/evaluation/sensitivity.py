"""How much wrong input the pose layers repair (section 3.1 of the paper).

They are given every labelled person with the true keypoints, moved at random by up to a share of half the person's box,
as noised poses are in training, and play one round without a click.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from clickpose.annotations import AnnotationSet, PersonAnnotation, Pose
from clickpose.evaluation.annotators import drawn_box
from clickpose.evaluation.coco_metrics import keypoint_ap
from clickpose.evaluation.matching import labelled_persons
from clickpose.evaluation.predictors import PosePredictor
from clickpose.evaluation.visits import Visit
from clickpose.oks import Doubles
from clickpose.poses import new_pose

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)


class Repairs(PosePredictor, Protocol):
    """A predictor whose pose layers run without a click."""

    def look_again(self, encoded: Any, poses: Sequence[Pose]) -> list[Pose]:
        """Return the poses after a round with every person and without a click."""


@dataclass(frozen=True)
class Sensitivity:
    """The keypoint AP of persons disturbed by ``noise``, in halves of their boxes: as given, and as answered."""

    noise: float
    given_ap: float
    answered_ap: float


class SensitivityMeter:
    """Disturbs the persons of every image, at each level of noise."""

    def __init__(self, predictor: Repairs, levels: Sequence[float] = LEVELS, seed: int = 0) -> None:
        """Prepare for some levels of noise."""
        self.predictor, self.levels, self.seed = predictor, levels, seed
        self.given: list[dict[int, list[Pose]]] = [{} for _ in levels]
        self.answered: list[dict[int, list[Pose]]] = [{} for _ in levels]

    def visit(self, visit: Visit) -> None:
        """Disturb one image's persons, and let the pose layers repair them."""
        persons = labelled_persons(visit.image)
        if not persons:
            return
        guesses = [self._guess(visit, person) for person in persons]
        rng = np.random.default_rng([self.seed, abs(visit.image.id)])
        moves = [rng.uniform(-1, 1, person.keypoints_px.shape) for person in persons]
        for level, given, answered in zip(self.levels, self.given, self.answered, strict=True):
            poses = [_disturb(*one, level) for one in zip(persons, guesses, moves, strict=True)]
            given[visit.image.id] = poses
            answered[visit.image.id] = self.predictor.look_again(visit.encoded, poses)

    def _guess(self, visit: Visit, person: PersonAnnotation) -> Pose:
        """Return the model's pose of the person: it is used where a keypoint has no label."""
        return self.predictor.add_person(visit.encoded, [], drawn_box(person, visit.image.size_wh))[-1]

    def result(self, annotations: AnnotationSet) -> list[Sensitivity]:
        """Return the AP at each level."""
        return [
            Sensitivity(level, keypoint_ap(annotations, given)["AP"], keypoint_ap(annotations, answered)["AP"])
            for level, given, answered in zip(self.levels, self.given, self.answered, strict=True)
        ]


def _disturb(person: PersonAnnotation, guess: Pose, moves: Doubles, level: float) -> Pose:
    """Return the person with the true keypoints moved; ``moves`` are in [-1, 1], at level 1 of half the box."""
    half_px = (person.box_px[2:] - person.box_px[:2]) / 2
    disturbed_px = person.keypoints_px + level * moves * half_px
    labelled = person.visibility[:, None] > 0
    return new_pose(np.where(labelled, disturbed_px, guess.keypoints_px), person.box_px, 1.0)
