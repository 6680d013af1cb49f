"""Frozen batch norms folded into the convolutions before them, in every step anew: two passes over each map less."""

from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from clickpose.model.backbone import Backbone


def fold_norms(backbone: Backbone) -> None:
    """Change how a backbone runs, not what it computes or learns; weights and their names stay."""
    convolution = None
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            convolution = module
        elif isinstance(module, FrozenBatchNorm2d) and convolution is not None:
            convolution.forward = partial(_convolve_and_norm, convolution, module)  # type: ignore[method-assign]
            module.forward = _pass_on


def _convolve_and_norm(convolution: nn.Conv2d, norm: FrozenBatchNorm2d, x: Tensor) -> Tensor:
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return F.conv2d(
        x,
        convolution.weight * scale[:, None, None, None],
        norm.bias - norm.running_mean * scale,
        convolution.stride,
        convolution.padding,
        convolution.dilation,
        convolution.groups,
    )


def _pass_on(x: Tensor) -> Tensor:
    return x
