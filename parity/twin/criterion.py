"""Who is whom, and what an answer costs: one loop for each sum of the specification."""

from itertools import permutations

import numpy as np

from parity.twin.arithmetic import Array, sigmoid
from parity.twin.decoder import Persons

SIGMAS = np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
PERSON = 1
Target = dict[str, Array]


def split(target: Target) -> tuple[Array, Array]:
    """Places ``(n, K, 2)`` and whether they are labelled ``(n, K)``."""
    num_keypoints = target["keypoints"].shape[1] // 3
    xy, labelled = np.split(target["keypoints"].astype(np.float64), [2 * num_keypoints], axis=1)
    return xy.reshape(len(xy), num_keypoints, 2), labelled


def oks(pose: Array, truth: Array, labelled: Array, area: float) -> float:
    total = 0.0
    for k, sigma in enumerate(SIGMAS):
        if labelled[k]:
            total += np.exp(-((pose[k] - truth[k]) ** 2).sum() / (2 * area * (2 * sigma) ** 2))
    return total / (labelled.sum() + 1e-6)


def distance(pose: Array, truth: Array, labelled: Array) -> float:
    return float((np.abs(pose - truth).sum(1) * labelled).sum())


def giou(a: Array, b: Array) -> float:
    """Generalized overlap of two boxes ``cxcywh``."""
    a0, a1, b0, b1 = a[:2] - a[2:] / 2, a[:2] + a[2:] / 2, b[:2] - b[2:] / 2, b[:2] + b[2:] / 2
    shared = np.maximum(np.minimum(a1, b1) - np.maximum(a0, b0), 0).prod()
    union = a[2:].prod() + b[2:].prod() - shared
    around = (np.maximum(a1, b1) - np.minimum(a0, b0)).prod()
    return float(shared / (union + 1e-6) - (around - union) / (around + 1e-6))


def class_cost(logit: float) -> float:
    p = float(sigmoid(np.array(logit)))
    return 0.25 * (1 - p) ** 2 * -np.log(p + 1e-8) - 0.75 * p**2 * -np.log(1 - p + 1e-8)


def match(found: Persons, target: Target, *, by_boxes: bool = False) -> list[tuple[int, int]]:
    """Assign a prediction to each person, at the least cost in all; pairs, by prediction."""
    xy, labelled = split(target)
    cost = np.zeros((len(found.logits), len(xy)))
    for q in range(len(found.logits)):
        for n in range(len(xy)):
            cost[q, n] = 2 * class_cost(found.logits[q, PERSON])
            if by_boxes:
                box = target["boxes"][n].astype(np.float64)
                cost[q, n] += 5 * np.abs(found.boxes[q] - box).sum() - 2 * giou(found.boxes[q], box)
            else:
                alike = max(oks(found.keypoints[q], xy[n], labelled[n], target["area"][n]), 1e-6)
                cost[q, n] += 10 * distance(found.keypoints[q], xy[n], labelled[n]) + 4 * (1 - alike)
    return sorted((q, n) for n, q in enumerate(cheapest(cost)))


def cheapest(cost: Array) -> tuple[int, ...]:
    """Try every assignment; of each person only the few cheapest predictions can be part of the best one."""
    candidates = np.unique(np.argsort(cost, axis=0)[: cost.shape[1]])
    totals = {rows: sum(cost[q, n] for n, q in enumerate(rows)) for rows in permutations(candidates, cost.shape[1])}
    return tuple(int(q) for q in min(totals, key=lambda rows: totals[rows]))


def losses(batch: list[tuple[Persons, Target]]) -> dict[str, float]:
    """Unweighted losses of the final layer over a batch."""
    sums = dict.fromkeys(("ce", "bbox", "giou", "keypoints", "oks"), 0.0)
    count = max(1, sum(len(target["boxes"]) for _, target in batch))
    for found, target in batch:
        pairs, (xy, labelled) = match(found, target), split(target)
        is_matched = {q for q, _ in pairs}
        for q, logits in enumerate(found.logits):
            for channel, logit in enumerate(logits):
                sums["ce"] += focal(logit, channel == PERSON and q in is_matched)
        for q, n in pairs:
            box = target["boxes"][n].astype(np.float64)
            sums["bbox"] += np.abs(found.boxes[q] - box).sum()
            sums["giou"] += 1 - giou(found.boxes[q], box)
            sums["keypoints"] += distance(found.keypoints[q], xy[n], labelled[n])
            sums["oks"] += 1 - max(oks(found.keypoints[q], xy[n], labelled[n], target["area"][n]), 1e-6)
    return {f"loss_eval/loss_{name}": value / count for name, value in sums.items()}


def focal(logit: float, is_person: bool) -> float:
    p = float(sigmoid(np.array(logit)))
    return -0.25 * (1 - p) ** 2 * np.log(p) if is_person else -0.75 * p**2 * np.log(1 - p)
