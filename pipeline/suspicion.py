"""Annotations that look wrong: left and right swapped, or keypoints outside the image.

Swapped sides are found with the champion, person by person: does it predict left where the label says right? Its own
error rate is measured on trusted images. An annotator's new annotations are suspicious if their rate is far above it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.stats import binom

from clickpose.annotations import AnnotatedImage, Ints, PersonAnnotation, Pose
from clickpose.evaluation.matching import labelled_persons
from clickpose.evaluation.predictors import PosePredictor
from clickpose.evaluation.visits import LoadImage
from clickpose.skeleton import Skeleton

MAX_OFFSET = 1.0  # of the person's size: a pose that is farther off, on average, shows another person
MIN_COSINE = 0.6  # below, a pose does not tell left from right
MAX_CHANCE = 0.001  # that so many swaps are only the champion's own errors
MIN_SWAPS = 3
MARGIN = 0.01  # of the image's size: a keypoint may be that far outside, as clicks at the edge are
PRIOR_SWAPS, PRIOR_PERSONS = 2, 5  # assumed of a champion before any trusted image is seen

FindPoses: TypeAlias = Callable[[AnnotatedImage], Sequence[Pose]]


@dataclass(frozen=True)
class Suspicion:
    """An annotated image that looks wrong, and the reason in one sentence."""

    file_name: str
    reason: str


@dataclass(frozen=True)
class Sides:
    """Counts over some images: persons whose sides the champion can tell, and those that look swapped."""

    num_persons: int = 0
    num_swapped: int = 0

    def __add__(self, other: Sides) -> Sides:
        return Sides(self.num_persons + other.num_persons, self.num_swapped + other.num_swapped)


def find_suspicious(
    images: Sequence[AnnotatedImage],
    annotators: Mapping[str, str],
    trusted: Sequence[AnnotatedImage],
    skeleton: Skeleton,
    find_poses: FindPoses,
) -> list[Suspicion]:
    """Return the images whose annotations look wrong.

    Args:
        images: newly annotated.
        annotators: the annotator of each image, by file name.
        trusted: images that the champion was not trained on and whose annotations are trusted.
        skeleton: of all annotations.
        find_poses: the champion's poses on an image, in that skeleton.

    Raises:
        ImageError: an image cannot be read.
    """
    found = {image.file_name: Suspicion(image.file_name, reason) for image, reason in _outside(images, skeleton)}
    own = sum((sides_of(image, find_poses(image), skeleton) for image in trusted), Sides())
    error = (own.num_swapped + PRIOR_SWAPS) / (own.num_persons + PRIOR_PERSONS)
    batches: dict[str, dict[str, Sides]] = defaultdict(dict)
    for image in images:
        sides = sides_of(image, find_poses(image), skeleton)
        batches[annotators.get(image.file_name, "")][image.file_name] = sides
    for user, batch in batches.items():
        for suspicion in _swapped(user, batch, error):
            found.setdefault(suspicion.file_name, suspicion)
    return [found[image.file_name] for image in images if image.file_name in found]


def poses_of(predictor: PosePredictor, load_image: LoadImage) -> FindPoses:
    """Return a function that finds the poses of a predictor on an image."""
    return lambda image: predictor.detect(predictor.encode(load_image(image)))


def sides_of(image: AnnotatedImage, poses: Sequence[Pose], skeleton: Skeleton) -> Sides:
    """Count the persons of an image whose sides the poses can tell, and those that look swapped."""
    told = [_looks_swapped(person, poses, skeleton) for person in labelled_persons(image)]
    return Sides(sum(answer is not None for answer in told), sum(answer is True for answer in told))


def _looks_swapped(person: PersonAnnotation, poses: Sequence[Pose], skeleton: Skeleton) -> bool | None:
    """Whether the pose that matches a person has left and right swapped; None if that cannot be told.

    Sides are compared by direction, from each right keypoint to its left one: that needs no precise keypoints.
    """
    left, right = _labelled_pairs(person, skeleton)
    if not poses or not len(left):
        return None
    truth = np.stack([person.keypoints_px[left], person.keypoints_px[right]])  # (2, pairs, 2)
    found = np.stack([[pose.keypoints_px[left], pose.keypoints_px[right]] for pose in poses])
    offsets_px = [np.linalg.norm(sides - truth, axis=-1).mean((1, 2)) for sides in (found, found[:, ::-1])]
    nearest_px = np.minimum(*offsets_px)
    across, seen = truth[0] - truth[1], found[nearest_px.argmin(), 0] - found[nearest_px.argmin(), 1]
    length = float(np.linalg.norm(across) * np.linalg.norm(seen))
    cosine = float((across * seen).sum()) / length if length else 0.0
    if nearest_px.min() > MAX_OFFSET * np.sqrt(person.area_px) or abs(cosine) < MIN_COSINE:
        return None
    return cosine < 0


def _labelled_pairs(person: PersonAnnotation, skeleton: Skeleton) -> tuple[Ints, Ints]:
    """Return the indices of left and of right keypoints, where both are labelled."""
    pairs = np.array(skeleton.flip_pairs, np.int64).reshape(-1, 2)
    both = pairs[(person.visibility[pairs] > 0).all(1)]
    return both[:, 0], both[:, 1]


def _swapped(user: str, batch: Mapping[str, Sides], error: float) -> Iterator[Suspicion]:
    """Yield the images of one annotator: all if most persons look swapped, else those where most do."""
    total = sum(batch.values(), Sides())
    chance = float(binom.sf(total.num_swapped - 1, total.num_persons, error))
    if total.num_swapped < MIN_SWAPS or chance > MAX_CHANCE:
        return
    share = total.num_swapped / total.num_persons
    reason = (
        f"left and right look swapped: in the annotations of {user or 'an unknown annotator'} for {total.num_swapped}"
        f" of {total.num_persons} persons, where the model's own error would explain {error:.0%}"
    )
    for file_name, sides in batch.items():
        if share > 0.5 or 2 * sides.num_swapped > sides.num_persons:
            yield Suspicion(file_name, reason)


def _outside(images: Sequence[AnnotatedImage], skeleton: Skeleton) -> Iterator[tuple[AnnotatedImage, str]]:
    """Yield images with a keypoint outside them, and which one."""
    for image in images:
        size_wh = np.array(image.size_wh)
        for person in image.persons:
            outside = (person.keypoints_px < -MARGIN * size_wh) | (person.keypoints_px > (1 + MARGIN) * size_wh)
            beyond = np.flatnonzero(outside.any(1) & (person.visibility > 0))
            if len(beyond):
                x, y = person.keypoints_px[beyond[0]]
                name = skeleton.keypoints[beyond[0]]
                yield image, f"{name} of person {person.id} lies outside the image, at ({x:.0f}, {y:.0f})"
                break
