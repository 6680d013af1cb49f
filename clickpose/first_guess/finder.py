"""Where the persons of an image are: boxes, and the chance that each shows a person, best first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import nms

from clickpose.annotations import Floats
from clickpose.first_guess.nanodet import NUM_BINS, STRIDES

SIDE_PX = 416  # the longer side of the network's input
MEAN_BGR, STD_BGR = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
PERSON = 0
MAX_OVERLAP = 0.5  # IoU of two boxes that may both be persons
MIN_SCORE = 0.02
MAX_PERSONS = 20

Calibration: TypeAlias = tuple[float, float, float]
AS_SCORED: Calibration = (1.0, 0.0, 0.0)
CALIBRATION: Calibration = (3.251, 1.023, 3.149)  # fitted on COCO images (examples/calibrate_finder.py)
Levels: TypeAlias = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Found:
    """The persons of one image, best first.

    Attributes:
        boxes_px: ``(M, 4)`` x0, y0, x1, y1 in pixels.
        scores: ``(M,)`` the chance in [0, 1] that an annotator would label a person there.
    """

    boxes_px: Floats
    scores: Floats


Finder: TypeAlias = Callable[[Image.Image], Found]


class NanoDetFinder:
    """Finds at most ``MAX_PERSONS`` persons with NanoDet, on the image and its mirror image.

    Args:
        network: with its weights, in evaluation mode, in any precision.
        calibration: see ``person_chances``.
    """

    def __init__(self, network: nn.Module, calibration: Calibration = CALIBRATION) -> None:
        self.network, self.calibration = network, calibration
        weight = next(network.parameters())
        self.device, self.dtype = weight.device, weight.dtype

    @torch.inference_mode()
    def __call__(self, image: Image.Image) -> Found:
        """Find the persons of an RGB image, best first."""
        pixels, scale = letterbox(image)
        both = torch.cat((pixels, pixels.flip(3))).contiguous(memory_format=torch.channels_last)
        levels = [(a.float(), b.float()) for a, b in self.network(both.to(self.device, self.dtype))]
        boxes, scores = read_persons(average_mirrored(levels))
        kept = nms(boxes, scores, MAX_OVERLAP)
        size = torch.tensor(image.size * 2, dtype=torch.float32)
        boxes_px = (boxes[kept].cpu() / scale).clamp(min=0).minimum(size)
        chances = person_chances(boxes_px, scores[kept].cpu(), image.size, self.calibration)
        best = chances.argsort(descending=True)[:MAX_PERSONS]
        return Found(boxes_px[best].numpy(), chances[best].numpy())


def average_mirrored(levels: Levels) -> Levels:
    """Average the maps of an image and of its mirror image, a batch of two; left and right distances change places."""
    averaged = []
    for logits, distances in levels:
        mirrored = distances[1:, [2, 1, 0, 3]].flip(4)
        averaged.append(((logits[:1] + logits[1:].flip(3)) / 2, (distances[:1] + mirrored) / 2))
    return averaged


def person_chances(boxes_px: Tensor, scores: Tensor, size_wh: tuple[int, int], calibration: Calibration) -> Tensor:
    """Return the chance ``(M,)`` that an annotator would label a person in each box.

    A small or distant person has a lower chance than a large one of the same score.

    Args:
        boxes_px: ``(M, 4)`` x0, y0, x1, y1.
        scores: ``(M,)`` of the network, in (0, 1).
        size_wh: of the image.
        calibration: weight of the score's logit, weight of the log of the box's size in sizes of the image, and shift.
    """
    by_score, by_size, shift = calibration
    area = (boxes_px[:, 2:] - boxes_px[:, :2]).clamp(min=1).prod(1)
    log_size = (area / (size_wh[0] * size_wh[1])).log() / 2
    return (by_score * scores.logit() + by_size * log_size + shift).sigmoid()


def letterbox(image: Image.Image) -> tuple[Tensor, float]:
    """Scale an image to the network's size and pad it on the right and bottom.

    Returns:
        ``(1, 3, H, W)`` normalised BGR, H and W multiples of the coarsest stride, and the scale.
    """
    scale = SIDE_PX / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    resized = np.array(image.resize((width, height), Image.Resampling.BILINEAR))
    pixels = torch.from_numpy(resized).permute(2, 0, 1).flip(0)[None].float()
    coarsest = STRIDES[-1]
    pixels = F.pad(pixels, (0, -width % coarsest, 0, -height % coarsest))  # black before normalising
    mean, std = torch.tensor(MEAN_BGR), torch.tensor(STD_BGR)
    pixels = (pixels - mean[:, None, None]) / std[:, None, None]
    return pixels.contiguous(memory_format=torch.channels_last), scale


def read_persons(levels: Levels) -> tuple[Tensor, Tensor]:
    """Read boxes ``(M, 4)`` in pixels of the network's input, and scores ``(M,)``, off its maps for one image."""
    boxes, scores = [], []
    for stride, (logits, distances) in zip(STRIDES, levels, strict=True):
        score = logits[0, PERSON].sigmoid()
        y, x = (score > MIN_SCORE).nonzero(as_tuple=True)
        bins = torch.arange(NUM_BINS, device=score.device, dtype=score.dtype)
        sides = (distances[0, :, :, y, x].softmax(1) * bins[:, None]).sum(1)  # (4, m) left, top, right, bottom
        centre = torch.stack((x, y)) + 0.5
        corners = torch.cat((centre - sides[:2], centre + sides[2:])) * stride
        boxes.append(corners.T)
        scores.append(score[y, x])
    return torch.cat(boxes), torch.cat(scores)
