"""Operations on poses that do not need the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torchvision.ops import box_iou

from clickpose.annotations import AREA_PER_BOX, VISIBLE, Floats, Pose
from clickpose.image_frame import ImageFrame
from clickpose.oks import Doubles, exponent

SAME_PERSON_IOU = 0.7  # two boxes that overlap more show one person
SAME_PERSON_OKS = 0.6  # two poses that are more alike show one person
HIDDEN_IOU = 0.5  # a hypothesis that overlaps a shown person by more is the same person


def new_pose(keypoints_px: Floats, box_px: Floats, score: float, scores: Floats | None = None) -> Pose:
    """Return a pose as a model found it: every keypoint visible, none held."""
    count = len(keypoints_px)
    return Pose(
        keypoints_px=np.asarray(keypoints_px, np.float32),
        visibility=np.full(count, VISIBLE, np.int64),
        scores=np.full(count, score, np.float32) if scores is None else np.asarray(scores, np.float32),
        box_px=np.asarray(box_px, np.float32),
        score=score,
        held=np.zeros(count, bool),
    )


def keep_inside(pose: Pose, size_wh: tuple[int, int]) -> Pose:
    """Clip the pose's box to the image."""
    return dataclasses.replace(pose, box_px=ImageFrame(size_wh).clip(pose.box_px))


def keep_held(old: Pose, new: Pose) -> Pose:
    """Return the new pose with everything that a human set in the old one."""
    return dataclasses.replace(
        new,
        keypoints_px=np.where(old.held[:, None], old.keypoints_px, new.keypoints_px),
        visibility=old.visibility,
        scores=np.where(old.held, 1.0, new.scores).astype(np.float32),
        held=old.held,
    )


def drop_duplicates(poses: Sequence[Pose], max_overlap: float) -> list[Pose]:
    """Keep, of poses sorted best first, those whose box overlaps no better one by more than ``max_overlap`` IoU."""
    kept: list[Pose] = []
    for pose in poses:
        others = np.stack([other.box_px for other in kept]) if kept else np.zeros((0, 4), np.float32)
        if not (box_overlaps(pose.box_px[None], others) > max_overlap).any():
            kept.append(pose)
    return kept


def drop_alike(poses: Sequence[Pose], sigmas: Floats) -> list[Pose]:
    """Keep, of poses sorted best first, those that no better one resembles by more than ``SAME_PERSON_OKS``."""
    kept: list[Pose] = []
    for pose in poses:
        alike = (max(similarities(pose, [k], sigmas)[0], similarities(k, [pose], sigmas)[0]) for k in kept)
        if max(alike, default=0.0) <= SAME_PERSON_OKS:
            kept.append(pose)
    return kept


def similarities(pose: Pose, others: Sequence[Pose], sigmas: Floats) -> Doubles:
    """Return the OKS ``(N,)`` of N other poses with a pose, whose box stands for the person's area."""
    area_px = AREA_PER_BOX * max(1.0, float(np.prod(pose.box_px[2:] - pose.box_px[:2])))
    places_px = np.stack([other.keypoints_px for other in others]) if others else np.zeros((0, len(sigmas), 2))
    squared: Doubles = ((places_px - pose.keypoints_px) ** 2).sum(-1)
    return np.exp(-exponent(squared, area_px, sigmas)).mean(-1)  # type: ignore[no-any-return]


def hidden_among(hypotheses: Sequence[Pose], shown: Sequence[Pose]) -> list[Pose]:
    """Return the hypotheses of persons that are not shown yet."""
    boxes = np.stack([pose.box_px for pose in shown]) if shown else np.zeros((0, 4), np.float32)
    return [h for h in hypotheses if not (box_overlaps(h.box_px[None], boxes) > HIDDEN_IOU).any()]


def score_by_agreement(kept: Sequence[Pose], hypotheses: Sequence[Pose], sigmas: Floats) -> list[Pose]:
    """Score each pose kept by all hypotheses that agree with it, and sort best first.

    Hypothesis j supports pose i by its score and similarity, s_j OKS_ij; the score is 1 - prod_j (1 - s_j OKS_ij).
    So the dropped duplicates tell an easy person from a doubtful one.

    Args:
        kept: some of the hypotheses.
        hypotheses: all persons found, duplicates included.
        sigmas: ``(K,)`` OKS standard deviations.
    """
    sure = np.array([pose.score for pose in hypotheses])

    def agreed(pose: Pose) -> float:
        return float(1 - np.prod(1 - sure * similarities(pose, hypotheses, sigmas)))

    return sorted((dataclasses.replace(pose, score=agreed(pose)) for pose in kept), key=lambda pose: -pose.score)


def box_overlaps(boxes_px: Floats, others_px: Floats) -> Floats:
    """IoU ``(M, N)`` of ``xyxy`` boxes ``(M, 4)`` and ``(N, 4)``; 0 for empty boxes."""
    overlaps = box_iou(torch.from_numpy(boxes_px), torch.from_numpy(others_px))
    return overlaps.nan_to_num(0.0).numpy()  # type: ignore[no-any-return]
