"""Which predicted pose shows which annotated person, decided once, before the first click."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from clickpose.annotations import AnnotatedImage, PersonAnnotation, Pose
from clickpose.oks import Doubles, oks_matrix
from clickpose.skeleton import Skeleton

# below it a pose does not show that person; the value of Ronchi & Perona, ICCV 2017 (COCO error diagnosis)
MIN_MATCH_OKS = 0.1


def labelled_persons(image: AnnotatedImage) -> list[PersonAnnotation]:
    """Return the persons that can be corrected: with at least one labelled keypoint, and no crowd."""
    return [person for person in image.persons if person.num_labelled > 0 and not person.is_crowd]


def match_by_oks(
    poses: Sequence[Pose], persons: Sequence[PersonAnnotation], skeleton: Skeleton, min_oks: float = MIN_MATCH_OKS
) -> dict[int, int]:
    """Match one to one so that the sum of OKS is largest; ``{index of pose: index of person}``.

    Pairs below ``min_oks`` are no matches: such a person is missed, and has to be added.
    """
    similarity = oks_matrix(_stack(poses, skeleton), persons, skeleton.sigmas)
    similarity[similarity < min_oks] = 0.0
    return {i: j for i, j in _assign(-similarity).items() if similarity[i, j] > 0}


def match_as_published(poses: Sequence[Pose], image: AnnotatedImage, skeleton: Skeleton) -> dict[int, int]:
    """Match as Click-Pose's own evaluation: ``{index of pose: index in labelled_persons(image)}``.

    The cost is ``2 class + 10 sum(v (|dx| + |dy|)) + 4 (1 - OKS)``, where class is a focal term, and offsets, areas
    and so OKS are in units of the picture's width and height. Every person gets a pose while there are enough.
    """
    persons = labelled_persons(image)
    keypoints_norm = _stack(poses, skeleton) / image.size_wh
    truths = [_normalised(person, image.size_wh) for person in persons]
    cost = 2 * _class_cost(np.array([pose.score for pose in poses]))[:, None]
    cost = cost + 4 * (1 - np.maximum(oks_matrix(keypoints_norm, truths, skeleton.sigmas), 1e-6))
    for column, truth in enumerate(truths):
        distance = np.abs(keypoints_norm - truth.keypoints_px).sum(-1)
        cost[:, column] += 10 * distance[:, truth.visibility > 0].sum(-1)
    return _assign(cost)


def _assign(cost: Doubles) -> dict[int, int]:
    rows, columns = linear_sum_assignment(cost)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True)}


def _stack(poses: Sequence[Pose], skeleton: Skeleton) -> Doubles:
    return np.array([pose.keypoints_px for pose in poses], np.float64).reshape(-1, len(skeleton), 2)


def _normalised(person: PersonAnnotation, size_wh: tuple[int, int]) -> PersonAnnotation:
    width, height = size_wh
    return PersonAnnotation(
        person.id,
        (person.keypoints_px / np.array(size_wh)).astype(np.float32),
        person.visibility,
        person.box_px,
        person.area_px / (width * height),
    )


def _class_cost(score: NDArray[np.floating]) -> Doubles:
    found = 0.25 * (1 - score) ** 2 * -np.log(score + 1e-8)
    missed = 0.75 * score**2 * -np.log(1 - score + 1e-8)
    return np.asarray(found - missed, np.float64)
