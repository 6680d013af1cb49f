"""Weights and pictures that anyone can make again from names and seeds: the common ground of two implementations."""

import math
import zlib
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from clickpose.checkpoints.published_names import published_name
from clickpose.inference import prepare
from clickpose.model import ClickPose, resnet50_coco
from clickpose.model.config import IMAGENET_MEAN, IMAGENET_STD
from clickpose.skeleton import Skeleton, built_in


@cache
def recipe_model(num_keypoints: int, prepared: bool = False) -> ClickPose:
    """The published network, each weight drawn by its published name; as inference runs it if ``prepared``."""
    if prepared:
        return prepare(recipe_model(num_keypoints))
    model = ClickPose(resnet50_coco(num_keypoints)).eval()
    for name, weight in model.state_dict().items():
        weight.copy_(torch.from_numpy(draw_weight(published_name(name), tuple(weight.shape))))
    return model


def draw_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a weight at a size that keeps activations and predictions in a useful range."""
    random = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        return (0.5 + random.random(shape)).astype(np.float32)
    normal = random.standard_normal(shape)
    return _scale(name, normal, math.prod(shape[1:])).astype(np.float32)


def _scale(name: str, normal: np.ndarray, fan_in: int) -> np.ndarray:
    leaf = name.rsplit(".", 1)[-1]
    if name.endswith("running_mean"):
        return 0.1 * normal
    if "sampling_offsets.bias" in name:
        return 2.0 * normal
    if "class_embed" in name:
        gain = 2.0 if "enc_out" in name else 6.0
        return -1.0 + 0.5 * normal if leaf == "bias" else gain * normal / math.sqrt(fan_in)
    if name.endswith("enc_out_bbox_embed.layers.2.bias"):
        return np.array([0.0, 0.0, 1.5, 1.5]) + 0.1 * normal
    if name.endswith("layers.2.weight") and any(head in name for head in ("bbox_embed", "pose_embed", "pose_hw_embed")):
        return 0.3 * normal / math.sqrt(fan_in)
    if name.endswith("decoder.hw.weight"):
        return normal - 1.5
    if "label_enc" in name or "keypoint_embed" in name or name.endswith("level_embed"):
        return normal
    if normal.ndim == 1:
        scale = 0.5 if ".bn3." in name else 1.0
        return scale * (1 + 0.1 * normal) if leaf == "weight" else 0.1 * normal
    return normal * math.sqrt((2.0 if name.startswith("backbone.") else 1.0) / fan_in)


def draw_pictures(seeds: Sequence[int], sizes_hw: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor | None]:
    """Normalised pictures ``(B, 3, H, W)`` and, unless all have one size, their padding ``(B, H, W)``."""
    height, width = np.max(sizes_hw, axis=0)
    images = torch.zeros(len(seeds), 3, height, width)
    padding = torch.ones(len(seeds), height, width, dtype=torch.bool)
    for i, (seed, (h, w)) in enumerate(zip(seeds, sizes_hw, strict=True)):
        images[i, :, :h, :w] = draw_picture(int(seed), int(h), int(w))
        padding[i, :h, :w] = False
    return images, padding if padding.any() else None


def draw_picture(seed: int, height: int, width: int) -> Tensor:
    """Blocks of eight pixels with grain, normalised; ``(3, H, W)``."""
    random = np.random.Generator(np.random.PCG64(seed))
    blocks = random.integers(0, 256, (3, height // 8, width // 8))
    grain = random.integers(-24, 25, (3, height, width))
    pixels = np.clip(blocks.repeat(8, 1).repeat(8, 2) + grain, 0, 255).astype(np.float32) / np.float32(255)
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return torch.from_numpy((pixels - mean) / std)


def skeleton_of(num_keypoints: int) -> Skeleton:
    """The built-in skeleton of that many keypoints, for its sigmas."""
    skeletons = {len(skeleton): skeleton for skeleton in map(Skeleton.load, built_in())}
    if num_keypoints not in skeletons:
        raise SystemExit(f"no built-in skeleton has {num_keypoints} keypoints, so their sigmas are unknown")
    return skeletons[num_keypoints]
