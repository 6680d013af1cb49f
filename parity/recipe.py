"""Our network with drawn weights, and batches of drawn images: the common ground of two implementations."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from clickpose.checkpoints.published_names import published_name
from clickpose.inference import prepare
from clickpose.model import ClickPose, resnet50_coco
from clickpose.skeleton import Skeleton, built_in
from parity.draws import draw_image, draw_weight


@cache
def recipe_model(num_keypoints: int, prepared: bool = False) -> ClickPose:
    """The published network, each weight drawn by its published name; as inference runs it if ``prepared``."""
    if prepared:
        return prepare(recipe_model(num_keypoints))
    model = ClickPose(resnet50_coco(num_keypoints)).eval()
    for name, weight in model.state_dict().items():
        weight.copy_(torch.from_numpy(draw_weight(published_name(name), tuple(weight.shape))))
    return model


def draw_images(seeds: Sequence[int], sizes_hw: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor | None]:
    """Normalised images ``(B, 3, H, W)`` and, unless all have one size, their padding ``(B, H, W)``."""
    height, width = np.max(sizes_hw, axis=0)
    images = torch.zeros(len(seeds), 3, height, width)
    padding = torch.ones(len(seeds), height, width, dtype=torch.bool)
    for i, (seed, (h, w)) in enumerate(zip(seeds, sizes_hw, strict=True)):
        images[i, :, :h, :w] = torch.from_numpy(draw_image(int(seed), int(h), int(w)))
        padding[i, :h, :w] = False
    return images, padding if padding.any() else None


def skeleton_of(num_keypoints: int) -> Skeleton:
    """The built-in skeleton of that many keypoints, for its sigmas."""
    skeletons = {len(skeleton): skeleton for skeleton in map(Skeleton.load, built_in())}
    if num_keypoints not in skeletons:
        raise SystemExit(f"no built-in skeleton has {num_keypoints} keypoints, so their sigmas are unknown")
    return skeletons[num_keypoints]
