"""Bilinear sampling and its gradients compiled for the CPU; without a compiler, plain PyTorch is used."""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clickpose.model.sampling import LevelShapes
from clickpose.training.fast.compiler import CannotCompile, compile_library

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("deformable_cpu.cpp")


@cache
def can_compile() -> bool:
    """Compile the kernel, which takes seconds and is cached; False, with a warning, if that fails."""
    try:
        library()
    except CannotCompile as error:
        logger.warning("training samples in plain PyTorch, which is slower: %s", error)
        return False
    return True


def sample_compiled(values: Tensor, shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Sample as ``sample_by_grid`` does, compiled; float32 on the CPU only."""
    return CompiledSampling.apply(values, locations, weights, shapes)  # type: ignore[no-any-return]


class CompiledSampling(torch.autograd.Function):
    """``sample_by_grid`` in one pass over the samples, forward and backward."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, locations: Tensor, weights: Tensor, shapes: LevelShapes) -> Tensor:
        """Sample; see ``sample_by_grid``."""
        inputs = [t.contiguous() for t in (values, locations, weights)]
        ctx.save_for_backward(*inputs)
        ctx.shapes = shapes
        output = values.new_empty(locations.shape[0], locations.shape[1], values.shape[2] * values.shape[3])
        _call("sample_forward", inputs, shapes, _pointer(output))
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of values, locations and weights."""
        inputs = ctx.saved_tensors
        gradients = tuple(torch.empty_like(t) for t in inputs)
        grad_output = grad_output.contiguous()
        _call("sample_backward", inputs, ctx.shapes, _pointers((grad_output, *gradients)))
        return (*gradients, None)


def _call(name: str, inputs: list[Tensor], shapes: LevelShapes, results: Any) -> None:
    values, locations, _ = inputs
    sizes = (*values.shape, locations.shape[1], len(shapes), locations.shape[4])
    sides = [side for shape in shapes for side in shape]
    getattr(library(), name)(
        (ctypes.c_int64 * 7)(*sizes),
        (ctypes.c_int64 * len(sides))(*sides),
        _pointers(inputs),
        results,
        ctypes.c_int64(torch.get_num_threads()),
    )


def _pointers(tensors: Any) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _pointer(tensor: Tensor) -> Any:
    return ctypes.c_void_p(tensor.data_ptr())


@cache
def library() -> ctypes.CDLL:
    """Return the compiled functions.

    Raises:
        CannotCompile: there is no compiler, or it failed.
    """
    compiled = ctypes.CDLL(str(compile_library(SOURCE)))
    for function in (compiled.sample_forward, compiled.sample_backward):
        function.restype = None
    return compiled
