"""Frozen batch norms folded into the convolutions before them, in every step: two passes over each map less."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from clickpose.model.backbone import Backbone
from clickpose.rewriting import take_over


def fold_norms(backbone: Backbone) -> None:
    """Make a backbone faster, in place, with the same results; weights and their names stay."""
    for parent in list(backbone.modules()):
        previous: tuple[str, nn.Module] = ("", parent)
        for name, child in list(parent.named_children()):
            if isinstance(child, FrozenBatchNorm2d) and isinstance(previous[1], nn.Conv2d):
                norm = FoldedNorm(child)
                setattr(parent, name, norm)
                setattr(parent, previous[0], NormedConvolution(previous[1], norm))
            previous = (name, child)


class FoldedNorm(FrozenBatchNorm2d):  # type: ignore[misc]
    """Keeps the numbers of a norm; the convolution before it has applied them."""

    def __init__(self, norm: FrozenBatchNorm2d) -> None:
        take_over(self, norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return x


class NormedConvolution(nn.Conv2d):
    """A convolution and the frozen norm after it as one convolution."""

    def __init__(self, convolution: nn.Conv2d, norm: FoldedNorm) -> None:
        take_over(self, convolution)
        vars(self)["norm"] = norm  # not as a child: its numbers keep their names

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, h, w)`` to ``(B, out, h', w')``."""
        norm: FoldedNorm = vars(self)["norm"]
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        weight = self.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, shift, self.stride, self.padding, self.dilation, self.groups)
