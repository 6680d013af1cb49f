"""The reliability of a keypoint's score as the chance that the keypoint lies within tolerance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize

from clickpose.annotations import Floats
from clickpose.evaluation.matching import labelled_persons, match_by_oks
from clickpose.evaluation.visits import Visit
from clickpose.oks import DEFAULT_TOLERANCE, Doubles, within_tolerance
from clickpose.skeleton import Skeleton

NUM_BINS = 10


@dataclass
class ReliabilityMeter:
    """Collects the keypoints' scores of every person shown, and whether each is within tolerance.

    Attributes:
        skeleton: of the poses.
        tolerance: OKS term from which a keypoint is right.
    """

    skeleton: Skeleton
    tolerance: float = DEFAULT_TOLERANCE
    _chances: list[Floats] = field(default_factory=list)
    _right: list[Floats] = field(default_factory=list)

    def visit(self, visit: Visit) -> None:
        """Add the labelled keypoints of one image."""
        persons = labelled_persons(visit.image)
        for index, number in match_by_oks(visit.shown, persons, self.skeleton).items():
            pose, person = visit.shown[index], persons[number]
            labelled = person.visibility > 0
            right = within_tolerance(pose.keypoints_px, person, self.skeleton.sigmas, self.tolerance)
            self._chances.append(pose.scores[labelled].astype(np.float32))
            self._right.append(right[labelled].astype(np.float32))

    @property
    def chances(self) -> Floats:
        """``(n,)`` scores in [0, 1] of n keypoints."""
        return np.concatenate([np.zeros(0, np.float32), *self._chances])

    @property
    def right(self) -> Floats:
        """``(n,)`` 1 where the keypoint is within tolerance, else 0."""
        return np.concatenate([np.zeros(0, np.float32), *self._right])


@dataclass(frozen=True)
class Bin:
    """Keypoints with scores in one tenth of [0, 1]: their share of all, mean score, and share within tolerance."""

    share: float
    chance: float
    right: float


def bins(chances: Floats, right: Floats) -> list[Bin]:
    """Sort n keypoints into ten bins by score; empty bins are left out."""
    number = np.minimum((chances * NUM_BINS).astype(int), NUM_BINS - 1)
    members = [number == n for n in range(NUM_BINS) if (number == n).any()]
    return [Bin(float(m.mean()), float(chances[m].mean()), float(right[m].mean())) for m in members]


def expected_calibration_error(chances: Floats, right: Floats) -> float:
    """Return the mean distance between score and outcome over the bins, weighted by size (Guo et al., 2017)."""
    return sum(b.share * abs(b.chance - b.right) for b in bins(chances, right))


def fit_calibration(chances: Floats, right: Floats) -> tuple[float, float]:
    """Fit scale and shift of the scores' logits by maximum likelihood (Platt, 1999)."""
    scale, shift = fit_logistic(logits(chances)[:, None], right)
    return scale, shift


def logits(chances: Floats) -> Floats:
    """Return the log odds of chances in [0, 1], those of 0 and 1 bounded."""
    bounded = np.clip(chances, 1e-6, 1 - 1e-6)
    return np.log(bounded / (1 - bounded))  # type: ignore[no-any-return]


def fit_logistic(evidence: Floats, right: Floats) -> tuple[float, ...]:
    """Fit weights for ``evidence`` ``(n, m)``, and a shift, to outcomes ``(n,)`` of 0 and 1 by maximum likelihood."""

    def loss(weights: Doubles) -> float:
        margin = (2 * right - 1) * (evidence @ weights[:-1] + weights[-1])
        return float(np.logaddexp(0, -margin).mean())

    start = np.array([1.0] + [0.0] * evidence.shape[1])
    return tuple(round(float(weight), 3) for weight in minimize(loss, start, method="BFGS").x)
