"""The frozen networks that come with the package; ``weights/SOURCE.md`` says where they are from."""

from __future__ import annotations

from importlib import resources

import torch
from safetensors.torch import load
from torch import nn

from clickpose.first_guess.finder import NanoDetFinder
from clickpose.first_guess.looker import CROP_PX, WIDTHS, MoveNetLooker
from clickpose.first_guess.movenet import MoveNet
from clickpose.first_guess.nanodet import NanoDet


def make_finder(device: torch.device) -> NanoDetFinder:
    """Return the finder, NanoDet-g, on a device."""
    return NanoDetFinder(_with_weights(NanoDet(), "nanodet", device))


def make_looker(name: str, device: torch.device) -> MoveNetLooker:
    """Return a looker on a device: MoveNet ``thunder``, or ``lightning``, three times faster and less exact."""
    return MoveNetLooker(_with_weights(MoveNet(WIDTHS[name]), f"movenet-{name}", device), CROP_PX[name])


def _with_weights(network: nn.Module, name: str, device: torch.device) -> nn.Module:
    file = resources.files("clickpose.first_guess") / "weights" / f"{name}.safetensors"
    network.load_state_dict(load(file.read_bytes()))
    network.eval().requires_grad_(False)
    return network.to(device).to(memory_format=torch.channels_last)  # convolutions take half the time
