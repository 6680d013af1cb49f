"""The frozen networks that come with the package; ``weights/SOURCE.md`` says where they are from."""

from __future__ import annotations

from importlib import resources

import torch
from safetensors.torch import load
from torch import Tensor, nn

from clickpose.first_guess.finder import NanoDetFinder
from clickpose.first_guess.looker import CROP_PX, WIDTHS, MoveNetLooker
from clickpose.first_guess.mobilenet import STAGES, SameConv
from clickpose.first_guess.movenet import MoveNet
from clickpose.first_guess.nanodet import NanoDet
from clickpose.inference.choices import packed_products_pay


def make_finder(device: torch.device) -> NanoDetFinder:
    """Return the finder, NanoDet-g, on a device."""
    return NanoDetFinder(_with_weights(NanoDet(), "nanodet", device))


def make_looker(name: str, device: torch.device) -> MoveNetLooker:
    """Return a looker on a device: MoveNet ``thunder``, or ``lightning``, three times faster and less exact."""
    return MoveNetLooker(_with_weights(MoveNet(WIDTHS[name]), f"movenet-{name}", device), CROP_PX[name])


def movenet_backbone() -> dict[str, Tensor]:
    """Return the weights of Lightning's MobileNetV2 by torchvision's names, batch norm folded: it has seen poses.

    It pads at the end (``ModelConfig.backbone_padding``), and takes pixels in [-1, 1].
    """
    weights = _weights("movenet-lightning")
    places = [(s, b) for s, (_, _, count, _) in enumerate(STAGES) for b in range(count)]
    renamed = {"backbone.stem": "0.0"}
    for number, (s, b) in enumerate(places, start=1):
        steps = [name for name in ("expand", "depthwise") if f"backbone.stages.{s}.{b}.{name}.weight" in weights]
        renamed |= {f"backbone.stages.{s}.{b}.{name}": f"{number}.conv.{i}.0" for i, name in enumerate(steps)}
        renamed[f"backbone.stages.{s}.{b}.project"] = f"{number}.conv.{len(steps)}"
    pairs = ((key, key.rpartition(".")) for key in weights)
    return {f"{renamed[layer]}.{kind}": weights[key].float() for key, (layer, _, kind) in pairs if layer in renamed}


def _weights(name: str) -> dict[str, Tensor]:
    return load((resources.files("clickpose.first_guess") / "weights" / f"{name}.safetensors").read_bytes())


def _with_weights(network: nn.Module, name: str, device: torch.device) -> nn.Module:
    network.load_state_dict(_weights(name))
    network.eval().requires_grad_(False)
    network = network.to(device).to(memory_format=torch.channels_last)  # convolutions take half the time
    if device.type == "cpu" and torch.get_num_threads() == 1 and packed_products_pay():
        for part in network.modules():
            if isinstance(part, SameConv):  # with several threads PyTorch itself uses oneDNN
                part.pack()
    return network
