"""Pre-labelled images as candidates for annotation: their measures, in arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clickpose.annotations import Pose
from pipeline.prelabelled import Prelabel

Array = NDArray[np.float64]
RIDGE = 1e-3  # variance of shapes that is added in every direction, in squared sides of a person's box


@dataclass(frozen=True)
class Candidates:
    """N images.

    Attributes:
        names: of the images.
        num_persons: ``(N,)``.
        expected_clicks: ``(N,)`` expected number of clicks to correct each.
        least_score: ``(N,)`` score of the least sure person, 1 without persons.
        movement: ``(N,)`` how far poses move in one more round.
        mirror_difference: ``(N,)`` how far poses differ in the mirrored image; NaN if that was not predicted.
        oddness: ``(N,)`` distance of the most unusual pose from all others.
        embedding: ``(N, D)`` the mean shape, number and size of the persons, and what they look like to the model.
    """

    names: list[str]
    num_persons: NDArray[np.int64]
    expected_clicks: Array
    least_score: Array
    movement: Array
    mirror_difference: Array
    oddness: Array
    embedding: Array

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)


def read_candidates(prelabels: Iterable[Prelabel], leave_out: frozenset[str] = frozenset()) -> Candidates:
    """Describe pre-labelled images, except those that are left out by name."""
    kept = [found for found in prelabels if found.image.name not in leave_out]
    shapes = [np.stack([shape(pose) for pose in found.poses]) if found.poses else None for found in kept]
    length = next((one.shape[1] for one in shapes if one is not None), 0)
    looks = _looks(kept)
    return Candidates(
        names=[found.image.name for found in kept],
        num_persons=np.array([len(found.poses) for found in kept], np.int64),
        expected_clicks=np.array([found.expected_clicks for found in kept], np.float64),
        least_score=np.array([min((pose.score for pose in found.poses), default=1.0) for found in kept], np.float64),
        movement=np.array([found.movement for found in kept], np.float64),
        mirror_difference=np.array([found.mirror_difference for found in kept], np.float64),
        oddness=_oddness(shapes, length),
        embedding=_standardised(
            [
                np.concatenate((_embed(found, one, length), look))
                for found, one, look in zip(kept, shapes, looks, strict=True)
            ]
        ),
    )


def shape(pose: Pose) -> Array:
    """Return the keypoints ``(2 K,)`` from the centre of the person's box, in its longer sides."""
    low, high = pose.box_px[:2].astype(float), pose.box_px[2:].astype(float)
    side = max(1.0, float((high - low).max()))
    placed: Array = (pose.keypoints_px - (low + high) / 2) / side
    return placed.ravel()


def _oddness(shapes: Sequence[Array | None], length: int) -> Array:
    """Return the Mahalanobis distance of each image's oddest shape among all persons; 0 without persons."""
    people = [one for one in shapes if one is not None]
    if not people:
        return np.zeros(len(shapes))
    every = np.concatenate(people)
    mean, spread = every.mean(0), np.cov(every.T, bias=True) + RIDGE * np.eye(length)
    precision = np.linalg.inv(spread)

    def distances(of: Array) -> Array:
        offset = of - mean
        squared: Array = np.einsum("nd,de,ne->n", offset, precision, offset)
        return np.sqrt(squared)

    return np.array([0.0 if one is None else float(distances(one).max()) for one in shapes])


def _embed(found: Prelabel, shapes: Array | None, length: int) -> Array:
    if shapes is None:
        return np.zeros(length + 3)
    sizes = [float((pose.box_px[2:] - pose.box_px[:2]).max()) / max(found.size_wh) for pose in found.poses]
    scores = [float(pose.score) for pose in found.poses]
    return np.concatenate(
        (shapes.mean(0), [np.log1p(len(sizes)), np.mean(np.log(np.maximum(sizes, 1e-3))), np.mean(scores)])
    )


def _looks(prelabels: Sequence[Prelabel]) -> Array:
    """Return ``(N, D)`` what persons look like, the mean of all where that is not known, as without a person."""
    known = [found.appearance for found in prelabels if found.appearance]
    if not known:
        return np.zeros((len(prelabels), 0))
    mean = tuple(np.mean(known, axis=0))
    return np.array([found.appearance or mean for found in prelabels], np.float64)


def _standardised(rows: Sequence[Array]) -> Array:
    if not rows:
        return np.zeros((0, 1))
    values = np.stack(rows)
    deviation = values.std(0)
    standardised: Array = (values - values.mean(0)) / np.where(deviation > 0, deviation, 1.0)
    return standardised
