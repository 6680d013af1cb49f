"""Deformable attention looks near its references, on every level, and never at padding."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clickpose.model import tiny
from clickpose.model.attention import DeformableAttention
from tests.clickpose.builders import seeded

CONFIG = tiny()
SHAPES = ((8, 12), (4, 6), (2, 3))
TOKENS = sum(h * w for h, w in SHAPES)


def make_attention(**changes: object) -> DeformableAttention:
    torch.manual_seed(0)
    attention = DeformableAttention(replace(CONFIG, **changes))  # type: ignore[arg-type]
    torch.nn.init.normal_(attention.sampling_offsets.weight, std=0.3)
    torch.nn.init.normal_(attention.attention_weights.weight, std=0.3)
    return attention


def random_memory(batch: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(batch, TOKENS, CONFIG.width, generator=seeded(seed))


def random_queries(count: int = 5) -> tuple[Tensor, Tensor]:
    """Queries and their boxes on each level."""
    boxes = 0.2 + 0.6 * torch.rand(2, count, 1, 4, generator=seeded(2)).expand(-1, -1, len(SHAPES), -1)
    return torch.randn(2, count, CONFIG.width, generator=seeded(1)), boxes


def test_what_lies_under_padding_is_never_seen() -> None:
    attention, padding = make_attention(), torch.rand(2, TOKENS, generator=seeded(3)) < 0.4
    answers = []
    for seed in (0, 1):
        memory = torch.where(padding[..., None], random_memory(seed=seed), random_memory(seed=9))
        answers.append(attention(*random_queries(), attention.project_values(memory, padding), SHAPES))
    assert torch.equal(*answers)


def test_queries_are_independent_of_each_other() -> None:
    attention, (queries, boxes) = make_attention(), random_queries()
    values = attention.project_values(random_memory(), None)
    together = attention(queries, boxes, values, SHAPES)
    apart = [attention(queries[:, i : i + 1], boxes[:, i : i + 1], values, SHAPES) for i in range(queries.shape[1])]
    torch.testing.assert_close(torch.cat(apart, 1), together)


def test_a_uniform_memory_gives_the_same_answer_everywhere_inside() -> None:
    attention, (queries, boxes) = make_attention(), random_queries()
    central = torch.cat((0.4 + 0.2 * boxes[..., :2], 0.05 * boxes[..., 2:]), -1)
    values = attention.project_values(torch.ones(2, TOKENS, CONFIG.width), None)
    inside = attention(queries, central, values, SHAPES)
    torch.testing.assert_close(inside, attention.output_proj(values[:, :1].flatten(2)).expand_as(inside))


def test_a_image_moved_by_a_cell_answers_the_same_a_cell_further() -> None:
    shape, attention = (8, 12), make_attention(num_levels=3)
    queries, boxes = random_queries()
    small = torch.cat((0.3 + 0.4 * boxes[..., :2], 0.1 * boxes[..., 2:]), -1)
    image = torch.randn(2, *shape, CONFIG.width, generator=seeded(4))
    moved, step = image.roll(1, dims=2), torch.tensor([1 / shape[1], 0, 0, 0])
    first, second = (
        attention(queries, references, attention.project_values(p.flatten(1, 2).repeat(1, 3, 1), None), (shape,) * 3)
        for p, references in ((image, small), (moved, small + step))
    )
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_larger_boxes_look_further_away(monkeypatch: pytest.MonkeyPatch) -> None:
    attention, (queries, boxes), looked_at = make_attention(), random_queries(), []
    sample = attention.sample
    monkeypatch.setattr(attention, "sample", lambda *given: (looked_at.append(given[2]), sample(*given))[1])
    values = attention.project_values(random_memory(), None)
    for scale in (1.0, 2.0):
        attention(queries, torch.cat((boxes[..., :2], boxes[..., 2:] * scale), -1), values, SHAPES)
    near, far = (places - boxes[:, :, None, :, None, :2] for places in looked_at)
    torch.testing.assert_close(far, 2 * near)


@pytest.mark.parametrize("num_heads", [4, 8])
def test_a_new_attention_looks_in_all_directions_one_step_further_for_each_point(num_heads: int) -> None:
    attention = DeformableAttention(replace(CONFIG, num_heads=num_heads, width=32, num_points=3))
    offsets = attention.sampling_offsets.bias.view(num_heads, CONFIG.num_levels, 3, 2)
    torch.testing.assert_close(offsets.abs().amax(-1), torch.tensor([1.0, 2.0, 3.0]).expand(num_heads, 3, 3))
    torch.testing.assert_close(offsets.sum(0), torch.zeros(3, 3, 2), atol=1e-5, rtol=0)
    assert len({tuple(direction) for direction in offsets[:, 0, 0].round(decimals=4).tolist()}) == num_heads
    assert not attention.attention_weights.weight.any() and not attention.attention_weights.bias.any()
