"""Object keypoint similarity: how close a pose is to an annotated person, in pixels and numpy.

The similarity of one keypoint is ``exp(-d^2 / (2 A (2 sigma)^2))``, with d its distance in pixels, A the
person's area in square pixels and sigma the skeleton's; OKS is its mean over the labelled keypoints (COCO
keypoint evaluation, https://cocodataset.org/#keypoints-eval). Sigma is how far people disagree about that
keypoint, so a point one such standard deviation away has a similarity of exp(-1/8) = .88.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clickpose.annotations import PersonAnnotation
from clickpose.errors import InvalidAnnotation

DEFAULT_TOLERANCE = 0.85  # 1.14 standard deviations of COCO's annotators: about as far as two of them differ

Doubles = NDArray[np.float64]


def exponent(squared_distance: Any, area: Any, sigmas: Any) -> Any:
    """Return ``d^2 / (2 A (2 sigma)^2)``, broadcast over numpy arrays or tensors in any unit of length."""
    return squared_distance / (2 * area * (2 * sigmas) ** 2)


def keypoint_similarity(keypoints_px: ArrayLike, truth: PersonAnnotation, sigmas: ArrayLike) -> Doubles:
    """Return the ``(..., K)`` similarity in [0, 1] of each keypoint to the annotated one.

    Args:
        keypoints_px: ``(..., K, 2)`` x, y in pixels of the image that ``truth`` annotates.
        truth: the annotated person; where it has no label, ignore the similarity.
        sigmas: ``(K,)`` OKS standard deviations.
    """
    offset_px = np.asarray(keypoints_px, np.float64) - truth.keypoints_px
    area_px = truth.area_px + np.spacing(1)  # pycocotools' guard against an area of 0
    similarity: Doubles = np.exp(-exponent((offset_px**2).sum(-1), area_px, np.asarray(sigmas, np.float64)))
    return similarity


def oks(keypoints_px: ArrayLike, truth: PersonAnnotation, sigmas: ArrayLike) -> float:
    """Return the OKS in [0, 1] of one pose, ``(K, 2)`` in pixels, with one annotated person.

    Raises:
        InvalidAnnotation: the person has no labelled keypoint, so no OKS.
    """
    return float(oks_matrix(np.asarray(keypoints_px)[None], [truth], sigmas)[0, 0])


def oks_matrix(keypoints_px: ArrayLike, truths: Sequence[PersonAnnotation], sigmas: ArrayLike) -> Doubles:
    """Return the ``(P, T)`` OKS of P poses, ``(P, K, 2)`` in pixels, with T annotated persons.

    Raises:
        InvalidAnnotation: a person has no labelled keypoint, so no OKS.
    """
    poses_px = np.asarray(keypoints_px, np.float64).reshape(-1, np.size(sigmas), 2)
    columns = np.zeros((len(poses_px), len(truths)))
    for column, truth in enumerate(truths):
        if truth.num_labelled == 0:
            raise InvalidAnnotation(f"person {truth.id} has no labelled keypoint, so it has no OKS: leave it out")
        similarity = keypoint_similarity(poses_px, truth, sigmas)
        columns[:, column] = similarity[:, truth.visibility > 0].mean(-1)
    return columns


def within_tolerance(
    keypoints_px: ArrayLike, truth: PersonAnnotation, sigmas: ArrayLike, tolerance: float = DEFAULT_TOLERANCE
) -> NDArray[np.bool_]:
    """Return the ``(..., K)`` keypoints whose similarity is at least ``tolerance``; False where unlabelled.

    When every labelled keypoint of a person is within tolerance, its OKS is at least ``tolerance``. Hence as
    long as the OKS is below a goal, at least one keypoint is outside a tolerance equal to that goal.
    """
    close = keypoint_similarity(keypoints_px, truth, sigmas) >= tolerance
    return np.logical_and(close, truth.visibility > 0)
