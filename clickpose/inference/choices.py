"""Which of two variants is faster on this machine: measured once per process, when a network is prepared."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.inference.attention import GatheringAttention
from clickpose.inference.onednn import pack_convolution, pack_linear, packed_convolution, packed_linear
from clickpose.inference.products import Convolution, Product
from clickpose.inference.sampling import sample_by_gather
from clickpose.model.sampling import sample_by_grid

logger = logging.getLogger(__name__)


def choose_kernels(network: nn.Module) -> None:
    """Let each part of a rewritten network use the variant that is faster on its device."""
    for part in network.modules():
        if isinstance(part, Product | Convolution) and part.weight.device.type == "cpu" and packed_products_pay():
            part.pack()
        elif isinstance(part, GatheringAttention):
            part.gathers = gathering_pays(part.value_proj.weight.device)


@cache
def packed_products_pay() -> bool:
    """Measure which product is faster on this processor; a few milliseconds, once per process."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in ((1024, 256), (512, 256), (512,)))
    try:
        packed = pack_linear(weight)
        ways: dict[str, Callable[[], Tensor]] = {
            "plain": lambda: F.linear(x, weight, bias),
            "packed": lambda: packed_linear(x, packed, bias, "none"),
        }
        torch.testing.assert_close(ways["packed"](), ways["plain"](), atol=1e-3, rtol=1e-4)
        _try_convolution(generator)
    except (AttributeError, TypeError, RuntimeError, AssertionError) as error:
        logger.info("oneDNN's packed products cannot be used here: %s", error)
        return False
    return fastest(ways) == "packed"


@cache
def gathering_pays(device: torch.device) -> bool:
    """Whether gathering samples is faster than ``grid_sample``: always on a CPU; measured once on other devices."""
    if device.type == "cpu":
        return True
    shapes = ((100, 136), (50, 68), (25, 34), (13, 17))
    generator = torch.Generator(device).manual_seed(0)
    values = torch.randn(1, sum(h * w for h, w in shapes), 8, 32, generator=generator, device=device)
    locations = torch.rand(1, 4096, 8, 4, 4, 2, generator=generator, device=device)
    weights = torch.rand(1, 4096, 8, 4, 4, generator=generator, device=device)

    def by(sample: Callable[..., Tensor]) -> Callable[[], object]:
        return lambda: sample(values, shapes, locations, weights).sum().item()  # .item() waits for the device

    return fastest({"grid": by(sample_by_grid), "gather": by(sample_by_gather)}) == "gather"


def fastest(ways: Mapping[str, Callable[[], object]], repeats: int = 9) -> str:
    """Name the variant whose best run is the fastest; they alternate, so that a busy machine slows all alike."""
    best_s = dict.fromkeys(ways, math.inf)
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best_s[name] = min(best_s[name], time.perf_counter() - start)
    return min(best_s, key=lambda name: best_s[name])


def _try_convolution(generator: torch.Generator) -> None:
    conv = nn.Conv2d(16, 16, 3, padding=1)
    x = torch.randn(1, 16, 8, 8, generator=generator).to(memory_format=torch.channels_last)
    with torch.no_grad():
        shape = (conv.padding, conv.stride, conv.dilation, conv.groups)
        answer = packed_convolution(x, pack_convolution(conv.weight, shape), conv.bias, shape, "relu")
        torch.testing.assert_close(answer, conv(x).relu(), atol=1e-4, rtol=1e-4)
