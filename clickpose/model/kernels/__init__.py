"""Optional compiled sampling for CPU training; plain PyTorch stays the default that runs everywhere."""

from __future__ import annotations

import logging
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clickpose.model.sampling import LevelShapes, register_sampler

logger = logging.getLogger(__name__)


class CompiledSampling(torch.autograd.Function):
    """``sample_by_grid`` in one pass over the samples, forward and backward."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, locations: Tensor, weights: Tensor, shapes: list[int]) -> Tensor:
        """Sample; see ``sample_by_grid``."""
        tensors = [t.contiguous() for t in (values, locations, weights)]
        ctx.save_for_backward(*tensors)
        ctx.shapes = shapes
        return _kernel().forward(*tensors, shapes)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of values, locations and weights."""
        return (*_kernel().backward(*ctx.saved_tensors, grad_output.contiguous(), ctx.shapes), None)


def sample_compiled(values: Tensor, shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Sample as ``sample_by_grid`` does, compiled; float32 on the CPU only."""
    return CompiledSampling.apply(values, locations, weights, [side for shape in shapes for side in shape])  # type: ignore[no-any-return]


def use_compiled_sampling() -> bool:
    """Compile the kernel (half a minute, kept for later runs) and let it serve the CPU; False without a compiler."""
    if shutil.which("c++") is None or shutil.which("ninja") is None:
        logger.info("no c++ or ninja: sampling stays in plain PyTorch")
        return False
    _kernel()
    register_sampler("cpu", sample_compiled)
    return True


@cache
def _kernel() -> Any:
    from torch.utils.cpp_extension import load  # looks for compilers when imported

    source = Path(__file__).with_name("deformable_cpu.cpp")
    flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp"]
    return load("clickpose_deformable_cpu", [str(source)], extra_cflags=flags)
