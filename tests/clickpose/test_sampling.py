"""Deformable sampling equals a slow loop, and compiled sampling equals it in values and gradients."""

import math
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

from clickpose.model import tiny
from clickpose.model.attention import DeformableAttention
from clickpose.model.sampling import LevelShapes, sample_by_grid
from clickpose.training.fast import kernel
from clickpose.training.fast.attention import FastDeformableAttention
from clickpose.training.fast.compiler import compile_library
from clickpose.training.fast.kernel import can_compile, sample_compiled
from tests.clickpose.builders import seeded

SHAPES = ((4, 6), (2, 3))
HEADS, CHANNELS, POINTS, QUERIES = 2, 5, 3, 7


def random_inputs(batch: int = 2, channels: int = CHANNELS) -> tuple[Tensor, LevelShapes, Tensor, Tensor]:
    """Values of two levels, places in and around the map, and weights."""
    generator = seeded(0)
    values = torch.randn(batch, sum(h * w for h, w in SHAPES), HEADS, channels, generator=generator)
    locations = torch.rand(batch, QUERIES, HEADS, len(SHAPES), POINTS, 2, generator=generator) * 1.6 - 0.3
    weights = torch.rand(batch, QUERIES, HEADS, len(SHAPES), POINTS, generator=generator)
    return values, SHAPES, locations, weights


def sample_slowly(values: Tensor, shapes: LevelShapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Sum over levels and points, each the mean of four cells weighted by nearness; nothing outside the map."""
    result = torch.zeros(*locations.shape[:3], values.shape[-1])
    for b, q, h in torch.cartesian_prod(*(torch.arange(n) for n in locations.shape[:3])):
        first = 0
        for level, (height, width) in enumerate(shapes):
            for point in range(locations.shape[4]):
                x, y = locations[b, q, h, level, point] * torch.tensor([width, height]) - 0.5
                for row in (math.floor(y), math.floor(y) + 1):
                    for column in (math.floor(x), math.floor(x) + 1):
                        if 0 <= row < height and 0 <= column < width:
                            nearness = (1 - abs(x - column)) * (1 - abs(y - row))
                            cell = values[b, first + row * width + column, h]
                            result[b, q, h] += weights[b, q, h, level, point] * nearness * cell
            first += height * width
    return result.flatten(2)


def test_sampling_equals_a_slow_loop() -> None:
    torch.testing.assert_close(sample_by_grid(*random_inputs()), sample_slowly(*random_inputs()))


def test_the_centre_of_a_cell_is_that_cell() -> None:
    values = torch.arange(24.0).view(1, 24, 1, 1)
    centre = torch.tensor([(2 + 0.5) / 6, (3 + 0.5) / 4]).view(1, 1, 1, 1, 1, 2)
    assert sample_by_grid(values, ((4, 6),), centre, torch.ones(1, 1, 1, 1, 1)).item() == pytest.approx(3 * 6 + 2)


def test_a_place_outside_is_nothing() -> None:
    values, shapes, locations, weights = random_inputs()
    assert not sample_by_grid(values, shapes, locations + 5, weights).any()


def build_attention(*, uses_kernel: bool = True) -> FastDeformableAttention:
    torch.manual_seed(0)
    attention = FastDeformableAttention(DeformableAttention(tiny()))
    attention.uses_kernel = uses_kernel
    return attention


def test_values_lie_as_they_are_sampled_and_are_never_copied_for_the_backward_pass() -> None:
    attention, (_, shapes, locations, weights) = build_attention(uses_kernel=False), random_inputs()
    tokens = torch.randn(2, sum(h * w for h, w in SHAPES), 32, generator=seeded(1))
    values = attention.project_values(tokens, None)
    torch.testing.assert_close(values, DeformableAttention.project_values(attention, tokens, None))
    locations, weights = (t.repeat(1, 1, values.shape[2] // HEADS, *[1] * (t.dim() - 3)) for t in (locations, weights))
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (kept.append(t.data_ptr()), t)[1], lambda t: t):
        attention.sample(values, shapes, locations, weights)
    assert values.data_ptr() in kept  # grid sampling keeps what it sampled: the values themselves


needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="compiled sampling needs c++")


@needs_compiler
@pytest.mark.parametrize("channels", [CHANNELS, 16, 32])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_compiled_sampling_equals_plain_pytorch_in_values_and_gradients(channels: int, num_threads: int) -> None:
    torch.set_num_threads(num_threads)
    answers = []
    for sampler in (sample_by_grid, sample_compiled):
        values, shapes, locations, weights = random_inputs(channels=channels)
        inputs = [x.requires_grad_() for x in (values, locations, weights)]
        output = sampler(values, shapes, locations, weights)
        gradients = torch.autograd.grad((output * torch.randn(output.shape, generator=seeded(1))).sum(), inputs)
        answers.append([output, *gradients])
    for plain, compiled in zip(*answers, strict=True):
        torch.testing.assert_close(compiled, plain, atol=1e-4, rtol=1e-4)


@needs_compiler
def test_compiled_sampling_takes_tensors_in_any_layout() -> None:
    values, shapes, locations, weights = random_inputs()
    strided = values.permute(1, 0, 3, 2).contiguous().permute(1, 0, 3, 2)
    assert not strided.is_contiguous()
    compiled = sample_compiled(strided, shapes, locations.half().float(), weights)
    torch.testing.assert_close(compiled, sample_by_grid(values, shapes, locations.half().float(), weights))


@needs_compiler
def test_a_place_that_is_no_number_is_nowhere() -> None:
    values, shapes, locations, weights = random_inputs()
    nowhere = torch.full_like(locations, float("nan")).requires_grad_()
    output = sample_compiled(values, shapes, nowhere, weights)
    assert not output.any() and not torch.autograd.grad(output.sum(), nowhere)[0].any()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    forget_kernel()
    yield tmp_path / "clickpose"
    forget_kernel()


def forget_kernel() -> None:
    kernel.can_compile.cache_clear()
    kernel.library.cache_clear()


def samples_plainly() -> bool:
    """Whether training samples as the plain module does, to the last bit."""
    attention, inputs = build_attention(), random_inputs()
    return torch.equal(attention.sample(*inputs), sample_by_grid(*inputs))


def test_without_a_compiler_sampling_stays_as_it_is_and_says_so(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert samples_plainly()
    assert "plain PyTorch, which is slower: no c++ compiler is installed" in caplog.text


def test_a_compiler_that_refuses_is_quoted(empty_cache: Path, monkeypatch, caplog, tmp_path) -> None:
    refusing = tmp_path / "c++"
    refusing.write_text("#!/bin/sh\necho this is no C++ >&2; exit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(refusing))
    assert samples_plainly()
    assert "failed on deformable_cpu.cpp: this is no C++" in caplog.text


@needs_compiler
def test_processes_that_compile_at_once_leave_one_library_and_what_is_kept_is_not_compiled_again(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadPoolExecutor(2) as pool:
        libraries = set(pool.map(lambda _: compile_library(kernel.SOURCE), range(2)))
    assert libraries == set(empty_cache.iterdir()) and len(libraries) == 1
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert {compile_library(kernel.SOURCE)} == libraries


@needs_compiler
def test_a_cache_that_cannot_be_written_is_done_without(empty_cache: Path) -> None:
    empty_cache.write_text("a file where the folder should be")
    assert can_compile()
