"""The counter of the memory benchmark sees every tensor once, for as long as anything needs it."""

import torch

from benchmarks.training_memory import LiveTensors

KIB = 1024


def kib(count: int = 1, *, requires_grad: bool = False) -> torch.Tensor:
    return torch.ones(256 * count, requires_grad=requires_grad)


def test_a_tensor_counts_until_nothing_looks_at_it() -> None:
    with LiveTensors() as tensors:
        big = kib(8)
        view = big.view(2, -1)
        del big
        assert tensors.live == 8 * KIB
        del view
        kib(2)
    assert (tensors.live, tensors.peak) == (0, 8 * KIB)


def test_what_a_backward_pass_needs_counts_until_it_has_run() -> None:
    with LiveTensors() as tensors:
        weight = kib(requires_grad=True)
        loss = weight.exp().mul(kib(1)).sum()
        assert tensors.live == 3 * KIB + loss.nbytes  # weight, its exponential, the factor
        loss.backward()
        del loss
        assert tensors.live == 2 * KIB  # weight and gradient
