"""The subject of measurements: the published network with random weights of realistic size, and an image for it."""

from __future__ import annotations

import argparse
import dataclasses
import logging

import numpy as np
import torch
from numpy.typing import NDArray

from clickpose.model import ClickPose, resnet50_coco
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.training.cpu import keep_large_buffers
from parity.recipe import recipe_model

SIZE_WH = (1088, 800)
QUICK = {
    "width": 32,
    "ffn_width": 64,
    "encoder_layers": 2,
    "num_queries": 60,
    "short_side_px": 160,
    "long_side_px": 320,
}


def arguments(description: str | None, **more: str) -> argparse.Namespace:
    """Parse the options that benchmarks share, and ``more`` of them with their defaults."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0, help="0 for as many as there are cores")
    parser.add_argument("--repeats", type=int, default=0, help="0 for this benchmark's default")
    parser.add_argument("--quick", action="store_true", help="a small network: tries the script, measures nothing")
    for name, default in more.items():
        parser.add_argument(f"--{name}", default=default)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    keep_large_buffers()
    return chosen


def build_network(quick: bool = False) -> ClickPose:
    """Build ``resnet50_coco()`` with weights drawn by name, or something small."""
    if not quick:
        return recipe_model(17)
    torch.manual_seed(0)
    return ClickPose(dataclasses.replace(resnet50_coco(), backbone="mobilenet_v2", **QUICK)).eval()  # type: ignore[arg-type]


def build_predictor(network: ClickPose, device: str = "cpu", keep: torch.dtype = torch.float32) -> Predictor:
    """Build a predictor of a network of 17 keypoints."""
    return Predictor(network.to(device), Skeleton.load("coco17"), keep=keep)


def draw_photo(size_wh: tuple[int, int] = SIZE_WH, seed: int = 0) -> NDArray[np.uint8]:
    """Draw blocks of eight pixels with grain, uint8 ``(H, W, 3)``."""
    width, height = size_wh
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)[:height, :width]
    return np.clip(blocks + random.integers(-24, 25, (height, width, 3)), 0, 255).astype(np.uint8)
