"""Several annotations of one image: which one agrees best with the others, and where they disagree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from clickpose.annotations import AnnotatedImage
from clickpose.evaluation.matching import labelled_persons
from clickpose.oks import oks_matrix
from clickpose.skeleton import Skeleton
from integrations.label_studio.export import TaskAnnotation

MIN_AGREEMENT = 0.75  # mean OKS of two annotations; COCO's own annotators agree better on all but tiny persons


def agree(
    annotations: Sequence[TaskAnnotation], skeleton: Skeleton, min_agreement: float = MIN_AGREEMENT
) -> tuple[list[TaskAnnotation], list[str]]:
    """Choose one annotation for each task: the one that agrees best with the others.

    Returns:
        The annotations, and a sentence for each task that is left out because its annotators disagree.
    """
    by_task: dict[int, list[TaskAnnotation]] = defaultdict(list)
    for annotation in annotations:
        by_task[annotation.image.id].append(annotation)
    chosen, disagreements = [], []
    for task, several in by_task.items():
        agreements = [_with_others(one, several, skeleton) for one in several]
        best = int(np.argmax(agreements))
        if agreements[best] >= min_agreement:
            chosen.append(several[best])
        else:
            names = " and ".join(f"{one.annotation_id} ({_user_of(one)})" for one in several)
            disagreements.append(f"task {task}: annotations {names} agree by an OKS of {agreements[best]:.2f} at best")
    return chosen, disagreements


def agreement(one: AnnotatedImage, other: AnnotatedImage, skeleton: Skeleton) -> float:
    """Return how far two annotations of one image agree, in [0, 1]: mean OKS, a person that one lacks counting 0."""
    ours, theirs = labelled_persons(one), labelled_persons(other)
    if not ours and not theirs:
        return 1.0
    there = oks_matrix(np.array([p.keypoints_px for p in ours]), theirs, skeleton.sigmas)
    back = oks_matrix(np.array([p.keypoints_px for p in theirs]), ours, skeleton.sigmas)
    similarity = (there + back.T) / 2
    rows, columns = linear_sum_assignment(-similarity)
    return float(similarity[rows, columns].sum()) / max(len(ours), len(theirs))


def _with_others(one: TaskAnnotation, several: Sequence[TaskAnnotation], skeleton: Skeleton) -> float:
    others = [agreement(one.image, other.image, skeleton) for other in several if other is not one]
    return float(np.mean(others)) if others else 1.0


def _user_of(annotation: TaskAnnotation) -> str:
    return annotation.records[0].user if annotation.records else "unknown"
