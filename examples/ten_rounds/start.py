"""The model that the play starts from: a good one, made bad."""

from __future__ import annotations

from pathlib import Path

import torch

from clickpose.checkpoints.model_folder import load_model, save_model

NOISE = 0.5  # in standard deviations of each tensor


def weaken(model: Path, out: Path) -> Path:
    """Write a model with noise on all of its weights, and return its folder: its answers are worse than none."""
    loaded, generator = load_model(model), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in loaded.network.parameters():
            if weights.numel() > 1:
                weights.add_(NOISE * weights.std() * torch.randn(weights.shape, generator=generator))
    return save_model(out, loaded.network, loaded.skeleton, metrics={}, card=f"# {model.name}, with noise\n")
