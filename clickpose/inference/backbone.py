"""Convolutions with the frozen norms and the activations that follow folded into them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import FrozenBatchNorm2d

from clickpose.inference.products import Convolution
from clickpose.model.backbone import Backbone

ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.ReLU6: "relu6"}


def fold_backbone(backbone: Backbone) -> Backbone:
    """Fold a whole backbone, in place; stages keep their names."""
    body = backbone.body
    for name, step in zip(list(body), fold(list(body.values())), strict=True):
        body[name] = step
    return backbone


def fold(steps: Sequence[nn.Module]) -> list[nn.Module]:
    """Fold modules that run one after another; a norm or an activation folded away leaves a step that does nothing."""
    folded: list[nn.Module] = []
    for i, step in enumerate(steps):
        if len(folded) > i:
            continue
        norm, activation = (*steps[i + 1 : i + 3], nn.Identity(), nn.Identity())[:2]
        if not isinstance(step, nn.Conv2d):
            folded.append(_fold_inside(step))
        elif not isinstance(norm, FrozenBatchNorm2d):
            folded.append(Convolution(step, step.weight, step.bias))
        else:
            name = ACTIVATIONS.get(type(activation), "none")
            folded += [_normed(step, norm, name), nn.Identity(), *([nn.Identity()] if name != "none" else [])]
    return folded


class ResidualBlock(nn.Module):
    """A block of a ResNet, its two or three convolutions folded."""

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        super().__init__()
        steps = [block.conv1, block.bn1, block.relu, block.conv2, block.bn2]
        if isinstance(block, Bottleneck):
            steps += [block.relu, block.conv3, block.bn3]
        self.steps = nn.Sequential(*_not_idle(fold(steps)))
        shortcut = block.downsample
        self.shortcut = nn.Identity() if shortcut is None else nn.Sequential(*_not_idle(fold(list(shortcut))))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h', w')``."""
        moved: Tensor = self.steps(x)
        return moved.add_(self.shortcut(x)).relu_()


def _fold_inside(step: nn.Module) -> nn.Module:
    if isinstance(step, BasicBlock | Bottleneck):
        return ResidualBlock(step)
    if isinstance(step, InvertedResidual):
        step.conv = nn.Sequential(*_not_idle(fold(list(step.conv))))
    elif isinstance(step, nn.Sequential):
        return nn.Sequential(*_not_idle(fold(list(step))))
    return step


def _not_idle(steps: Sequence[nn.Module]) -> list[nn.Module]:
    return [step for step in steps if not isinstance(step, nn.Identity)]


def _normed(conv: nn.Conv2d, norm: FrozenBatchNorm2d, activation: str) -> Convolution:
    with torch.no_grad():
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        if conv.bias is not None:
            shift = shift + conv.bias * scale
        return Convolution(conv, conv.weight * scale[:, None, None, None], shift, activation)
