"""Where each keypoint of a skeleton starts from: the looker's keypoint of the same name, a relative's, or the box."""

from __future__ import annotations

import torch
from torch import Tensor

from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.skeleton import Skeleton

NOWHERE = -1


def sources(skeleton: Skeleton) -> list[int]:
    """Return, for each keypoint, the index of the looker's keypoint that it starts from, or ``NOWHERE``.

    The looker knows COCO's keypoints. A keypoint of another name starts where its relative does
    (``Skeleton.parents``).
    """
    known = Skeleton.load("coco17").keypoints

    def source(name: str | None, visited: frozenset[str] = frozenset()) -> int:
        if name is None or name in visited:
            return NOWHERE
        return known.index(name) if name in known else source(skeleton.parents.get(name), visited | {name})

    return [source(name) for name in skeleton.keypoints]


def first_keypoints(network: PersonFrameNetwork, skeleton: Skeleton, boxes: Tensor, looked: Tensor) -> Tensor:
    """Place the keypoints of N persons before any round.

    Args:
        network: knows where keypoints lie that no look shows.
        skeleton: of K keypoints.
        boxes: ``(N, 4)`` ``cxcywh`` in the frame.
        looked: ``(N, 17, 2)`` the looker's keypoints in the frame.

    Returns:
        ``(N, K, 2)`` in the frame.
    """
    index = torch.tensor(sources(skeleton), device=looked.device)
    if (index >= 0).all():
        return looked[:, index]
    return torch.where((index >= 0)[:, None], looked[:, index.clamp(min=0)], network.start(boxes))
