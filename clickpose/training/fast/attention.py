"""Deformable attention as training runs it."""

from __future__ import annotations

import torch
from torch import Tensor

from clickpose.model.attention import DeformableAttention
from clickpose.model.sampling import LevelShapes, sample_by_grid
from clickpose.rewriting import take_over
from clickpose.training.fast.kernel import can_compile, sample_compiled


class FastDeformableAttention(DeformableAttention):
    """``DeformableAttention`` that samples by the compiled kernel on a CPU, and elsewhere never copies its values.

    Attributes:
        uses_kernel: False to sample in plain PyTorch on a CPU, too.
    """

    uses_kernel = True

    def __init__(self, attention: DeformableAttention) -> None:
        take_over(self, attention)

    def project_values(self, tokens: Tensor, padding: Tensor | None) -> Tensor:
        """Project as ``DeformableAttention`` does, in the order in memory in which ``sample`` reads values.

        ``grid_sample`` would copy values for each call, and keep all copies for the backward pass.
        """
        values = super().project_values(tokens, padding)
        return values if self._samples_compiled(values) else lay_out_planes(values)

    def forward(self, queries: Tensor, references: Tensor, values: Tensor, shapes: LevelShapes) -> Tensor:
        """Attend as ``DeformableAttention`` does, in float32 even where products are in bfloat16."""
        with torch.autocast(queries.device.type, enabled=False):
            return super().forward(queries.float(), references, values.float(), shapes)

    def sample(self, values: Tensor, shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
        """Sum samples by weight; see ``sample_by_grid``."""
        sample = sample_compiled if self._samples_compiled(values) else sample_by_grid
        return sample(values, shapes, locations, weights)

    def _samples_compiled(self, values: Tensor) -> bool:
        return self.uses_kernel and values.device.type == "cpu" and can_compile()


def lay_out_planes(values: Tensor) -> Tensor:
    """Return equal values ``(B, S, H, C)`` that lie in memory as planes ``(B, H, C, S)``, as ``grid_sample`` wants."""
    return values.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
