"""Persons in kept crops, corrected by a simulated annotator: all of a batch at once, which makes simulations fast."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clickpose.annotations import VISIBLE, Pose
from clickpose.oks import exponent
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.person_frame.starts import first_keypoints
from clickpose.skeleton import Skeleton
from clickpose.training.person_frame.batches import CropBatch

GOAL = 0.85
CROPS_AT_ONCE = 128
SIZE_WH = (256, 256)  # of a crop, in which poses are described


class Annotating:
    """Persons in their crops, as an annotator sees them: refined without clicks, then click by click.

    Attributes:
        keypoints: ``(B, K, 2)`` in the frame.
        chances: ``(B, K)`` that each lies within tolerance.
        held: ``(B, K)`` bool, where an annotator placed it.
    """

    def __init__(self, network: PersonFrameNetwork, batch: CropBatch) -> None:
        self.network, self.batch, self.maps = network, batch, network.see(batch.maps)
        self.keypoints = first_keypoints(network, Skeleton.load("coco17"), batch.boxes, batch.looked)
        self.held = torch.zeros_like(batch.labelled, dtype=torch.bool)
        self.chances = batch.labelled
        for _ in range(network.frame_config.silent_rounds):
            self.answer()

    def answer(self) -> None:
        """Play a round: the keypoints that nobody placed move where the network expects an improvement."""
        played = self.network.play(self.batch.boxes, self.keypoints, self.maps, (~self.held).float())
        self.keypoints, self.chances = played.settle(self.keypoints, ~self.held, self.network.frame_config)

    def similarity(self) -> Tensor:
        """OKS term ``(B, K)`` of each keypoint; 1 without a label."""
        sigmas = torch.from_numpy(Skeleton.load("coco17").sigma_array)
        squared = (self.keypoints - self.batch.keypoints).square().sum(-1)
        terms = torch.exp(-exponent(squared, self.batch.areas[:, None].clamp(min=1e-9), sigmas))
        return torch.where(self.batch.labelled > 0, terms, 1.0)

    def is_below(self, similarity: Tensor) -> Tensor:
        """Tell ``(B,)`` which persons have an OKS below the goal."""
        labelled = self.batch.labelled
        return (similarity * labelled).sum(1) / labelled.sum(1).clamp(min=1) < GOAL * (labelled.sum(1) > 0)

    def clicks(self) -> Tensor:
        """Place the worst keypoint, let the others answer, until the person is good enough; count clicks ``(B,)``."""
        count = torch.zeros(len(self.batch))
        for _ in range(self.batch.labelled.shape[1]):
            similarity = self.similarity()
            clicked = self.is_below(similarity)
            if not clicked.any():
                break
            count += clicked
            worst = F.one_hot(similarity.argmin(1), similarity.shape[1]).bool() & clicked[:, None]
            self.keypoints = torch.where(worst[..., None], self.batch.keypoints, self.keypoints)
            self.held |= worst
            self.answer()
        return count

    def clicks_by_hand(self) -> Tensor:
        """Count clicks ``(B,)`` if no other keypoint answers."""
        similarity, count = self.similarity().sort(1).values, torch.zeros(len(self.batch))
        for place in range(similarity.shape[1]):
            count += self.is_below(similarity)
            similarity[:, place] = 1.0
        return count


def in_parts(numbers: Sequence[int]) -> list[Sequence[int]]:
    return [numbers[first : first + CROPS_AT_ONCE] for first in range(0, len(numbers), CROPS_AT_ONCE)]


def poses_of(persons: Annotating) -> list[Pose]:
    """Return the poses in the pixels of a crop; a person is as sure as the keypoints are."""
    side_px, box = SIZE_WH[0], persons.batch.boxes
    boxes_px = side_px * torch.cat((box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2), 1)
    rows = zip(side_px * persons.keypoints, persons.chances, boxes_px, strict=True)
    return [
        Pose(
            keypoints_px=keypoints.numpy(),
            visibility=np.full(len(chances), VISIBLE),
            scores=chances.numpy(),
            box_px=box.numpy(),
            score=chances.mean().item(),
            held=np.zeros(len(chances), bool),
        )
        for keypoints, chances, box in rows
    ]
