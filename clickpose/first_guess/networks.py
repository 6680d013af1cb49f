"""The frozen networks that come with the package; ``weights/SOURCE.md`` says where they are from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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


def make_finder(device: torch.device, dtype: torch.dtype | None = None) -> NanoDetFinder:
    """Return the finder, NanoDet-g, on a device, in a precision; None for ``fast_dtype``."""
    return NanoDetFinder(_with_weights(NanoDet(), _weights("nanodet"), device, dtype))


def make_looker(
    name: str, device: torch.device, dtype: torch.dtype | None = None, own: Mapping[str, Tensor] | None = None
) -> MoveNetLooker:
    """Return a looker, as above: MoveNet ``thunder``, or ``lightning``, three times faster and less exact.

    With weights of its ``own``, it has these instead of the packaged ones.
    """
    network = _with_weights(MoveNet(WIDTHS[name]), own or looker_weights(name), device, dtype)
    return MoveNetLooker(network, CROP_PX[name], _digest(own) if own else "")


def looker_weights(name: str) -> dict[str, Tensor]:
    """Return the packaged weights of a looker, in half precision."""
    return _weights(f"movenet-{name}")


def fast_dtype(device: torch.device) -> torch.dtype:
    """Return the precision of the frozen networks on a device: bfloat16 on a processor with instructions for it.

    There a look takes about half the time of float32, and as many clicks are left. Elsewhere it would be emulated.
    """
    instructions: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # an early torch may have none
    in_hardware = any(instructions.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return torch.bfloat16 if device.type == "cpu" and in_hardware else torch.float32


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


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + weights[name].detach().cpu().half().numpy().tobytes())
    return digest.hexdigest()


def _with_weights(
    network: nn.Module, weights: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype | None
) -> nn.Module:
    network.load_state_dict(weights)
    network.eval().requires_grad_(False)
    dtype = dtype or fast_dtype(device)
    network = network.to(device, dtype).to(memory_format=torch.channels_last)  # convolutions take half the time
    if (device.type, dtype, torch.get_num_threads()) == ("cpu", torch.float32, 1) and packed_products_pay():
        for part in network.modules():
            if isinstance(part, SameConv):  # with several threads PyTorch itself uses oneDNN
                part.pack()
    return network
