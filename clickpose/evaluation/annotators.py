"""Who corrects: the protocol of an annotator, and one who knows the truth and clicks by a strategy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from clickpose.annotations import AnnotatedImage, Click, PersonAnnotation, Pose
from clickpose.errors import InvalidConfig
from clickpose.evaluation.matching import labelled_persons, match_as_published, match_by_oks
from clickpose.evaluation.predictors import Box
from clickpose.oks import DEFAULT_TOLERANCE, Doubles, keypoint_similarity
from clickpose.skeleton import Skeleton

MIN_BOX_PX = 2


class Annotator(Protocol):
    """Looks at the poses of one image and corrects them."""

    def find_missed(self, poses: Sequence[Pose]) -> list[Box]:
        """Return boxes x0, y0, x1, y1 in pixels around the persons that no pose shows; called once, at first."""

    def correct(self, poses: Sequence[Pose]) -> Click | None:
        """Return the next click, or None when there is nothing left to correct."""


@dataclass(frozen=True)
class View:
    """One pose beside the person it shows, as a strategy sees them."""

    pose: Pose
    person: PersonAnnotation
    similarity: Doubles
    size_wh: tuple[int, int]
    rng: np.random.Generator


def _worst(view: View) -> Doubles:
    return -view.similarity


def _farthest(view: View) -> Doubles:
    offset_norm = np.abs(view.pose.keypoints_px - view.person.keypoints_px) / view.size_wh
    return np.asarray(offset_norm.sum(-1), np.float64)


def _random(view: View) -> Doubles:
    return view.rng.random(len(view.similarity))


def _low_score(view: View) -> Doubles:
    return -np.asarray(view.pose.scores, np.float64)


# each gives the urgency of K keypoints; the most urgent one outside tolerance is clicked
STRATEGIES: dict[str, Callable[[View], Doubles]] = {
    "worst": _worst,  # least similar to the truth
    "farthest": _farthest,  # largest |dx| / width + |dy| / height, as the published evaluation clicks
    "random": _random,
    "low-score": _low_score,  # the model's lowest score: needs no truth
}


def check_strategy(name: str) -> None:
    """Raise InvalidConfig if no strategy has this name."""
    if name not in STRATEGIES:
        raise InvalidConfig(f"no click strategy {name!r}: choose one of {', '.join(STRATEGIES)}")


@dataclass
class SimulatedAnnotator:
    """Knows where every labelled keypoint of one image belongs, and clicks the most urgent one first.

    Call ``find_missed`` once, before the first click: it decides which pose shows which person. Then ``correct``
    returns one click at a time, ``correct_each`` one for every person. Keypoints without a label, within tolerance, or
    already where this annotator would place them are never clicked.

    Attributes:
        image: the truth. Clicks are kept inside the image, even where its keypoints are not.
        skeleton: the schema of truth and poses.
        strategy: a name in ``STRATEGIES``.
        tolerance: similarity from which a keypoint is good enough; above 1 every keypoint is worth a click.
        noise: standard deviation of the clicks, in units of COCO's own annotators (sigma times the person's size).
        seed: of the noise and the random strategy.
        keypoints: names of those that may be clicked; None for all.
        matches: index in ``persons`` by index of the pose that shows it; filled by ``find_missed``.

    Raises:
        InvalidConfig: there is no such strategy.
    """

    image: AnnotatedImage
    skeleton: Skeleton
    strategy: str = "worst"
    tolerance: float = DEFAULT_TOLERANCE
    noise: float = 0.0
    seed: int = 0
    keypoints: Collection[str] | None = None
    matches: dict[int, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        """Decide once where each keypoint belongs, noise included, so that clicks are consistent."""
        check_strategy(self.strategy)
        self._rng = np.random.default_rng([self.seed, abs(self.image.id)])
        self._allowed = np.isin(self.skeleton.keypoints, list(self.keypoints or self.skeleton.keypoints))
        self.persons = labelled_persons(self.image)
        self._seen = [self._see(person) for person in self.persons]

    def find_missed(self, poses: Sequence[Pose]) -> list[Box]:
        """Match poses to persons; return the boxes of the persons left over, to be added in this order."""
        self.matches = match_by_oks(poses, self.persons, self.skeleton)
        missed = sorted(set(range(len(self.persons))) - set(self.matches.values()))
        self.matches |= {len(poses) + index: person for index, person in enumerate(missed)}
        return [drawn_box(self.persons[person], self.image.size_wh) for person in missed]

    def first_click(self, index: int) -> Click:
        """Return the click that adds a missed person: on the labelled keypoint nearest to the middle of all."""
        opinion = self._seen[self.matches[index]]
        labelled = np.flatnonzero(opinion.visibility > 0)
        places_px = opinion.keypoints_px[labelled]
        middle = int(labelled[np.linalg.norm(places_px - places_px.mean(0), axis=1).argmin()])
        x, y = (float(value) for value in opinion.keypoints_px[middle])
        return Click(index, middle, (x, y), int(opinion.visibility[middle]))

    def match_as_published(self, poses: Sequence[Pose]) -> None:
        """Match as the published evaluation does, instead of ``find_missed``: no person is added."""
        self.matches = match_as_published(poses, self.image, self.skeleton)

    def correct(self, poses: Sequence[Pose]) -> Click | None:
        """Return a click on the most urgent keypoint of all persons, or None when none is outside tolerance."""
        urgency = {index: self._urgency(poses[index], person) for index, person in self.matches.items()}
        most_urgent = max(urgency, key=lambda index: float(urgency[index].max()), default=None)
        return None if most_urgent is None else self._click(most_urgent, urgency[most_urgent])

    def correct_person(self, poses: Sequence[Pose], index: int) -> Click | None:
        """Return a click on the most urgent keypoint of the pose at ``index``, or None."""
        return self._click(index, self._urgency(poses[index], self.matches[index]))

    def correct_each(self, poses: Sequence[Pose]) -> list[Click]:
        """Return one click for every matched person who has a keypoint to correct."""
        clicks = [self.correct_person(poses, index) for index in sorted(self.matches)]
        return [click for click in clicks if click is not None]

    def _urgency(self, pose: Pose, person: int) -> Doubles:
        """``(K,)`` urgency; -inf where this annotator would not click."""
        seen = self._seen[person]
        similarity = keypoint_similarity(pose.keypoints_px, seen, self.skeleton.sigmas)
        view = View(pose, seen, similarity, self.image.size_wh, self._rng)
        placed = (pose.keypoints_px == seen.keypoints_px).all(-1)
        clickable = self._allowed & (seen.visibility > 0) & (similarity < self.tolerance) & ~placed
        return np.where(clickable, STRATEGIES[self.strategy](view), -np.inf)

    def _click(self, index: int, urgency: Doubles) -> Click | None:
        keypoint = int(urgency.argmax())
        if urgency[keypoint] == -np.inf:
            return None
        seen = self._seen[self.matches[index]]
        x, y = (float(value) for value in seen.keypoints_px[keypoint])
        return Click(index, keypoint, (x, y), int(seen.visibility[keypoint]))

    def _see(self, person: PersonAnnotation) -> PersonAnnotation:
        """Where this annotator sees the keypoints: noise added, clipped to the image."""
        spread_px = self.noise * np.sqrt(person.area_px / 2) * self.skeleton.sigma_array[:, None]
        seen_px = person.keypoints_px + spread_px * self._rng.standard_normal(person.keypoints_px.shape)
        return replace(person, keypoints_px=np.clip(seen_px, 0, self.image.size_wh).astype(np.float32))


def drawn_box(person: PersonAnnotation, size_wh: tuple[int, int]) -> Box:
    """Return the person's box as a human can draw it: inside the image, at least ``MIN_BOX_PX`` wide and high."""
    limits = np.array(size_wh, np.float64)
    corner = np.clip(person.box_px[:2], 0, limits - MIN_BOX_PX)
    x1, y1 = np.clip(person.box_px[2:], corner + MIN_BOX_PX, limits)
    return float(corner[0]), float(corner[1]), float(x1), float(y1)
