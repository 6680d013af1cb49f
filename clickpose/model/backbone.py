"""Torchvision backbones with frozen batch norm, giving features of stride 8, 16 and 32."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.ops import FrozenBatchNorm2d

from clickpose.errors import InvalidModel

STAGES = {
    "resnet50": ("layer2", "layer3", "layer4"),
    "resnet18": ("layer2", "layer3", "layer4"),
    "mobilenet_v2": ("6", "13", "17"),
}
CHANNELS = {"resnet50": (512, 1024, 2048), "resnet18": (128, 256, 512), "mobilenet_v2": (32, 96, 320)}
FROZEN = {"resnet50": ("conv1", "layer1"), "resnet18": ("conv1", "layer1"), "mobilenet_v2": ("0", "1")}


class Backbone(nn.Module):
    """A network cut after its stride-32 stage; children keep torchvision's names below ``body``.

    The stem and the first stage are not trained, and no batch norm is (section 1 of the released training code).
    ``padding`` is ``both`` or ``end``, see ``ModelConfig.backbone_padding``.
    """

    def __init__(self, name: str, padding: str = "both") -> None:
        super().__init__()
        network = get_model(name, weights=None, norm_layer=FrozenBatchNorm2d)
        children = network.features if name == "mobilenet_v2" else network
        self.stages = STAGES[name]
        self.body = nn.ModuleDict()
        for child_name, child in children.named_children():
            self.body[child_name] = child
            if child_name == self.stages[-1]:
                break
        for frozen in FROZEN[name]:
            self.body[frozen].requires_grad_(False)
        if padding == "end":
            _pad_at_end(self.body)
        self.to(memory_format=torch.channels_last)  # convolutions take half the time

    def forward(self, images: Tensor) -> list[Tensor]:
        """Normalised images ``(B, 3, H, W)`` to three feature maps, finest first."""
        features, x = [], images
        for name, child in self.body.items():
            x = child(x)
            if name in self.stages:
                features.append(x)
        return features


class PadAtEnd(nn.Module):
    """Pads as TensorFlow's SAME does before a 3 x 3 convolution with stride 2: of an even side, the end only."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C, h + 1, w + 1)``, or two more where a side is odd."""
        h, w = x.shape[-2:]
        return F.pad(x, (w % 2, 1, h % 2, 1))


def _pad_at_end(parent: nn.Module) -> None:
    for name, child in parent.named_children():
        first = next(child.children(), None)
        if isinstance(child, nn.Sequential) and isinstance(first, nn.Conv2d) and first.stride == (2, 2):
            first.padding = (0, 0)
            setattr(parent, name, nn.Sequential(OrderedDict([("pad", PadAtEnd()), *child.named_children()])))
        else:
            _pad_at_end(child)


def load_imagenet(backbone: Backbone, name: str, path: str | Path | None = None) -> None:
    """Load ImageNet weights into a backbone, from a file or, without one, torchvision's own by download.

    Args:
        backbone: receives the weights, in place.
        name: which network it is.
        path: a safetensors file with torchvision's names. A file that holds only convolutions, weight and bias,
            has batch norm folded into them: the norms then become identities with that bias.

    Raises:
        InvalidModel: the file does not fit the network.
    """
    if path is None:
        state = get_model(name, weights="IMAGENET1K_V1").state_dict()
    else:
        state = {key: value.float() for key, value in load_file(path).items()}
    load_backbone(backbone, state, str(path or name))


def load_backbone(backbone: Backbone, state: Mapping[str, Tensor], source: str) -> None:
    """Load weights by torchvision's names into a backbone, in place; batch norm may be folded, see ``load_imagenet``.

    Raises:
        InvalidModel: weights are missing; the message names their ``source``.
    """
    state = {key.removeprefix("features."): value for key, value in state.items()}
    if not any(key.endswith("running_var") for key in state):
        state = _unfold_batch_norm(backbone.body, state)
    wanted = backbone.body.state_dict()
    missing = sorted(set(wanted) - set(state))
    if missing:
        raise InvalidModel(f"{source}: backbone weights lack {', '.join(missing[:5])} ({len(missing)} in all)")
    backbone.body.load_state_dict({key: state[key] for key in wanted})


def _unfold_batch_norm(body: nn.Module, folded: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every norm that follows a folded convolution that convolution's bias, and identity otherwise."""
    state: dict[str, Tensor] = {}
    convolution = ""
    for name, module in body.named_modules():
        if isinstance(module, nn.Conv2d):
            convolution = name
            state[f"{name}.weight"] = folded[f"{name}.weight"]
        elif isinstance(module, FrozenBatchNorm2d):
            state[f"{name}.weight"] = torch.ones_like(module.weight)
            state[f"{name}.bias"] = folded[f"{convolution}.bias"]
            state[f"{name}.running_mean"] = torch.zeros_like(module.running_mean)
            state[f"{name}.running_var"] = torch.full_like(module.running_var, 1 - module.eps)
    return state
