"""Weights, images and persons that anyone can draw again from names and seeds; numpy only."""

import math
import zlib

import numpy as np
from numpy.typing import NDArray

MEAN_RGB = np.array([0.485, 0.456, 0.406], np.float32)
STD_RGB = np.array([0.229, 0.224, 0.225], np.float32)


def draw_weight(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Draw a weight at a size that keeps activations and predictions in a useful range."""
    random = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        return (0.5 + random.random(shape)).astype(np.float32)
    normal = random.standard_normal(shape)
    return _scale(name, normal, math.prod(shape[1:])).astype(np.float32)


def _scale(name: str, normal: NDArray[np.float64], fan_in: int) -> NDArray[np.float64]:
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


def draw_image(seed: int, height: int, width: int) -> NDArray[np.float32]:
    """Blocks of eight pixels with grain, normalised; ``(3, H, W)``."""
    random = np.random.Generator(np.random.PCG64(seed))
    blocks = random.integers(0, 256, (3, height // 8, width // 8))
    grain = random.integers(-24, 25, (3, height, width))
    pixels = np.clip(blocks.repeat(8, 1).repeat(8, 2) + grain, 0, 255).astype(np.float32) / np.float32(255)
    return (pixels - MEAN_RGB[:, None, None]) / STD_RGB[:, None, None]


def draw_persons(seed: int, num_persons: int, num_keypoints: int) -> dict[str, NDArray[np.float32]]:
    """Boxes ``cxcywh``, keypoints ``[x1 y1 ... v1 ...]`` and areas in [0, 1]; every fifth keypoint is unlabelled."""
    random = np.random.Generator(np.random.PCG64(seed))
    size = random.uniform(0.2, 0.5, (num_persons, 2))
    centre = random.uniform(size / 2, 1 - size / 2)
    xy = centre[:, None] + random.uniform(-0.5, 0.5, (num_persons, num_keypoints, 2)) * size[:, None]
    labelled = random.random((num_persons, num_keypoints)) < 0.8
    keypoints = np.concatenate([(xy * labelled[..., None]).reshape(num_persons, -1), labelled], 1)
    area = size.prod(1) * random.uniform(0.4, 0.7, num_persons)
    arrays = {"boxes": np.concatenate([centre, size], 1), "keypoints": keypoints, "area": area}
    return {name: array.astype(np.float32) for name, array in arrays.items()}
