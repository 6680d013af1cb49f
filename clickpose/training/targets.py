"""Ground truth of one image as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from clickpose.annotations import PersonAnnotation
from clickpose.image_frame import ImageFrame


@dataclass(frozen=True)
class Target:
    """The n persons of an image, normalised to its width and height.

    Attributes:
        boxes: ``(n, 4)`` ``cxcywh`` in [0, 1].
        keypoints: ``(n, K, 2)`` x, y in [0, 1]; anything where there is no label.
        labelled: ``(n, K)`` float, 1 where the keypoint carries a label, else 0.
        areas: ``(n,)`` OKS scale squared, divided by width times height.
    """

    boxes: Tensor
    keypoints: Tensor
    labelled: Tensor
    areas: Tensor

    def __len__(self) -> int:
        """Number of persons."""
        return len(self.boxes)

    def to(self, device: torch.device) -> Target:
        """Copy to a device."""
        return Target(*(t.to(device) for t in (self.boxes, self.keypoints, self.labelled, self.areas)))


def is_trained_on(person: PersonAnnotation) -> bool:
    """Return whether a person is trained on: not a crowd, at least one label, an area above 0."""
    return person.num_labelled > 0 and not person.is_crowd and person.area_px > 0


def make_target(persons: Sequence[PersonAnnotation], size_wh: tuple[int, int], num_keypoints: int) -> Target:
    """Normalise those persons of an image that are trained on."""
    persons = [person for person in persons if is_trained_on(person)]
    frame = ImageFrame(size_wh)
    keypoints = np.stack([p.keypoints_px for p in persons]) if persons else np.zeros((0, num_keypoints, 2), np.float32)
    visibility = np.stack([p.visibility for p in persons]) if persons else np.zeros((0, num_keypoints))
    boxes = np.stack([p.box_px for p in persons]) if persons else np.zeros((0, 4), np.float32)
    areas = np.array([p.area_px for p in persons])
    return Target(
        frame.boxes_to_frame(frame.clip(boxes)),
        frame.points_to_frame(keypoints),
        torch.as_tensor(visibility > 0, dtype=torch.float32),
        torch.as_tensor(areas / np.prod(np.asarray(size_wh, np.float32)), dtype=torch.float32),
    )
