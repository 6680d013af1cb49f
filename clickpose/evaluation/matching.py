"""Which predicted pose shows which annotated person, decided once, before the first click."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from clickpose.annotations import AnnotatedImage, PersonAnnotation, Pose
from clickpose.match_costs import CLASS_COST, class_cost, keypoint_cost
from clickpose.oks import Doubles, oks_matrix
from clickpose.skeleton import Skeleton

# below it, a pose does not show that person; the value of Ronchi & Perona, ICCV 2017 (COCO error diagnosis)
MIN_MATCH_OKS = 0.1


def labelled_persons(image: AnnotatedImage) -> list[PersonAnnotation]:
    """Return the persons that can be corrected: with at least one labelled keypoint, and not a crowd."""
    return [person for person in image.persons if person.num_labelled > 0 and not person.is_crowd]


def match_by_oks(
    poses: Sequence[Pose], persons: Sequence[PersonAnnotation], skeleton: Skeleton, min_oks: float = MIN_MATCH_OKS
) -> dict[int, int]:
    """Match one to one so that the sum of OKS is largest; ``{index of pose: index of person}``.

    Pairs below ``min_oks`` do not match: such a person is missed, and has to be added.
    """
    similarity = oks_matrix(_stack(poses, skeleton), persons, skeleton.sigmas)
    similarity[similarity < min_oks] = 0.0
    return {i: j for i, j in _assign(-similarity).items() if similarity[i, j] > 0}


def match_as_published(poses: Sequence[Pose], image: AnnotatedImage, skeleton: Skeleton) -> dict[int, int]:
    """Match as Click-Pose's own evaluation: ``{index of pose: index in labelled_persons(image)}``.

    The cost is that of training, in units of the image's width and height (``match_costs``). Every person gets a pose
    while there are enough.
    """
    persons, size_wh = labelled_persons(image), np.array(image.size_wh)
    truth = np.array([person.keypoints_px / size_wh for person in persons], np.float32).reshape(-1, len(skeleton), 2)
    labelled = np.array([person.visibility > 0 for person in persons]).reshape(-1, len(skeleton))
    areas = np.array([person.area_px for person in persons]) / size_wh.prod() + np.spacing(1)
    scores = torch.tensor([pose.score for pose in poses], dtype=torch.float64)
    values = (_stack(poses, skeleton) / size_wh, truth, labelled, areas, np.array(skeleton.sigmas))
    cost = CLASS_COST * class_cost(scores)[:, None]
    cost = cost + keypoint_cost(*(torch.from_numpy(value).double() for value in values))
    return _assign(cost.numpy())


def _assign(cost: Doubles) -> dict[int, int]:
    rows, columns = linear_sum_assignment(cost)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True)}


def _stack(poses: Sequence[Pose], skeleton: Skeleton) -> Doubles:
    return np.array([pose.keypoints_px for pose in poses], np.float64).reshape(-1, len(skeleton), 2)
