"""How the heavy parts of a network run in training: in bfloat16, or again in the backward pass to save memory.

Heavy are the stages of the backbone and the layers of encoder and decoder. The parts between them are light: heads,
references, positions, matching, losses. They stay in float32, since autocast ends with each heavy part; so do the
sampling places of deformable attention inside one (``FastDeformableAttention``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clickpose.model import ClickPose


def apply_precision(model: ClickPose, *, precision: str, checkpoint_activations: bool) -> None:
    """Replace the heavy parts of a model, in place, if a setting requires it; see ``fast.prepare``."""
    if precision == "float32" and not checkpoint_activations:
        return
    stages: tuple[Any, ...] = (model.backbone.body, model.projection.projections)
    layers: tuple[Any, ...] = (model.encoder.layers, model.decoder.layers)
    for parent in (*stages, *layers):
        for name, part in list(parent.named_children()):
            if any(True for _ in part.parameters()):
                setattr(parent, name, HeavyPart(part, precision, checkpoint_activations))


class HeavyPart(nn.Module):
    """A stage or layer that runs in bfloat16, or again in the backward pass; its weights keep their names.

    Args:
        part: the stage or layer. Its children and weights are this module's, too.
        precision: "float32" or "bfloat16".
        twice: keep the inputs only, and run again in the backward pass.
    """

    def __init__(self, part: nn.Module, precision: str, twice: bool) -> None:
        super().__init__()
        self._parameters, self._buffers, self._modules = part._parameters, part._buffers, part._modules
        self.precision, self.twice = precision, twice
        vars(self)["part"] = part  # not as a child of this one, which would lengthen the names of weights

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Run the part; the result is float32."""
        if self.twice and torch.is_grad_enabled():
            return checkpoint(self._run, *args, use_reentrant=False, **kwargs)
        return self._run(*args, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Tensor:
        device = next(self.parameters()).device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bfloat16"):
            output: Tensor = vars(self)["part"](*args, **kwargs)
        return output.float()
