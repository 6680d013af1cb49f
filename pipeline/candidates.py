"""Pre-labelled images as candidates for annotation: their measures, in arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clickpose.annotations import Pose
from pipeline.prelabelled import Prelabel

Array = NDArray[np.float64]
Small = NDArray[np.float32]
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
        shape_distance: ``(N,)`` Mahalanobis distance of the most unusual pose from the shapes of all persons, 0 without
            persons.
        embedding: ``(N, D)`` for distances between images, each column standardised: the mean shape of the persons,
            their number, size and score, and what they look like to the model.
    """

    names: list[str]
    num_persons: NDArray[np.int64]
    expected_clicks: Array
    least_score: Array
    movement: Array
    mirror_difference: Array
    shape_distance: Array
    embedding: Small

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)


@dataclass(frozen=True, slots=True)
class _Summary:
    """What is kept of an image while the others are read: about a kilobyte, as there may be millions.

    Attributes:
        name: of the image.
        measures: ``(4,)`` expected clicks, least score, movement, mirror difference.
        shapes: ``(P, 2 K)`` of its persons.
        crowd: ``(3,)`` how many persons there are, how large and how sure.
        appearance: of the persons to the model; empty if that is not known.
    """

    name: str
    measures: Array
    shapes: Small
    crowd: Small
    appearance: Small


def read_candidates(prelabels: Iterable[Prelabel], leave_out: frozenset[str] = frozenset()) -> Candidates:
    """Describe pre-labelled images, except those that are left out by name."""
    images = [_summary(found) for found in prelabels if found.image.name not in leave_out]
    expected_clicks, least_score, movement, mirror_difference = np.reshape([one.measures for one in images], (-1, 4)).T
    return Candidates(
        names=[one.name for one in images],
        num_persons=np.array([len(one.shapes) for one in images], np.int64),
        expected_clicks=expected_clicks,
        least_score=least_score,
        movement=movement,
        mirror_difference=mirror_difference,
        shape_distance=_shape_distances([one.shapes for one in images]),
        embedding=_embedding(images),
    )


def shape(pose: Pose) -> Array:
    """Return the keypoints ``(2 K,)`` from the centre of the person's box, in its longer sides."""
    low, high = pose.box_px[:2].astype(float), pose.box_px[2:].astype(float)
    side = max(1.0, float((high - low).max()))
    placed: Array = (pose.keypoints_px - (low + high) / 2) / side
    return placed.ravel()


def _summary(found: Prelabel) -> _Summary:
    least = min((pose.score for pose in found.poses), default=1.0)
    return _Summary(
        found.image.name,
        np.array((found.expected_clicks, least, found.movement, found.mirror_difference), np.float64),
        np.array([shape(pose) for pose in found.poses], np.float32),
        _crowd(found),
        np.array(found.appearance, np.float32),
    )


def _crowd(found: Prelabel) -> Small:
    """Return the logarithms of the number and the mean size of persons, and their mean score; zeros without one."""
    if not found.poses:
        return np.zeros(3, np.float32)
    sizes = [float((pose.box_px[2:] - pose.box_px[:2]).max()) / max(found.size_wh) for pose in found.poses]
    mean_size, mean_score = np.mean(np.log(np.maximum(sizes, 1e-3))), np.mean([pose.score for pose in found.poses])
    return np.array((np.log1p(len(sizes)), mean_size, mean_score), np.float32)


def _shape_distances(shapes: Sequence[Small]) -> Array:
    """Return the largest Mahalanobis distance of each image's persons; 0 without persons."""
    distances = np.zeros(len(shapes))
    people = [one for one in shapes if len(one)]
    if not people:
        return distances
    every = np.concatenate(people).astype(np.float64)
    mean, spread = every.mean(0), np.cov(every.T, bias=True) + RIDGE * np.eye(every.shape[1])
    precision = np.linalg.inv(spread)
    for i, one in enumerate(shapes):
        if len(one):
            offset = one - mean
            distances[i] = np.sqrt(np.einsum("nd,de,ne->n", offset, precision, offset).max())
    return distances


def _embedding(images: Sequence[_Summary]) -> Small:
    length = next((one.shapes.shape[1] for one in images if len(one.shapes)), 0)
    nobody = np.zeros(length, np.float32)
    shapes = np.array([one.shapes.mean(0) if len(one.shapes) else nobody for one in images], np.float32)
    crowds = np.array([one.crowd for one in images], np.float32).reshape(len(images), 3)
    return _standardised(np.concatenate((shapes.reshape(len(images), length), crowds, _appearances(images)), axis=1))


def _appearances(images: Sequence[_Summary]) -> Small:
    """Return ``(N, D)`` what persons look like, the mean of all where that is not known, as without a person."""
    known = [one.appearance for one in images if len(one.appearance)]
    if not known:
        return np.zeros((len(images), 0), np.float32)
    mean = np.mean(known, axis=0, dtype=np.float64).astype(np.float32)
    return np.array([one.appearance if len(one.appearance) else mean for one in images])


def _standardised(values: Small) -> Small:
    """Bring each column to mean 0 and deviation 1, in place."""
    if len(values):
        deviation = values.std(0, dtype=np.float64)
        values -= values.mean(0, dtype=np.float64).astype(np.float32)
        values /= np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)
    return values
