"""Sampling by a weighted gather equals ``sample_by_grid``: on the map, at its edges, outside, in half precision."""

import pytest
import torch
from torch import Tensor

from clickpose.inference.sampling import gather, sample_by_gather, table_layout
from clickpose.model.sampling import LevelShapes, sample_by_grid
from tests.clickpose.builders import seeded

SHAPES = ((4, 6), (2, 3), (1, 2), (1, 1))
HEADS, CHANNELS, POINTS = 2, 8, 3


def draw(queries: int, shapes: LevelShapes = SHAPES, batch: int = 2) -> tuple[Tensor, LevelShapes, Tensor, Tensor]:
    """Values, places in and around the map, and weights."""
    generator = seeded(0)
    values = torch.randn(batch, sum(h * w for h, w in shapes), HEADS, CHANNELS, generator=generator)
    locations = torch.rand(batch, queries, HEADS, len(shapes), POINTS, 2, generator=generator) * 2 - 0.5
    return values, shapes, locations, torch.rand(locations.shape[:-1], generator=generator)


@pytest.mark.parametrize("queries", [0, 1, 40])
@pytest.mark.parametrize("shapes", [SHAPES, SHAPES[:2], SHAPES[3:]])
def test_gathering_equals_sampling_by_grid(queries: int, shapes: LevelShapes) -> None:
    inputs = draw(queries, shapes)
    torch.testing.assert_close(sample_by_gather(*inputs), sample_by_grid(*inputs), atol=1e-5, rtol=0)


@pytest.mark.parametrize("place", [-7.0, -0.2, 0.0, 0.25, 0.5, 1.0, 1.2, 9.0, float("inf"), 1e30, -1e30])
def test_edges_and_far_places(place: float) -> None:
    values, shapes, locations, weights = draw(1)
    locations[..., 0] = place
    expected = sample_by_grid(values, shapes, locations.clamp(-100, 100), weights)
    torch.testing.assert_close(sample_by_gather(values, shapes, locations, weights), expected, atol=1e-5, rtol=0)


def test_a_place_that_is_no_number_spoils_its_own_answer_only() -> None:
    values, shapes, locations, weights = draw(3)
    expected = sample_by_grid(values, shapes, locations, weights)
    locations[0, 1, 0] = float("nan")
    answer = sample_by_gather(values, shapes, locations, weights)
    assert answer[0, 1, :CHANNELS].isnan().all()
    answer[0, 1, :CHANNELS] = expected[0, 1, :CHANNELS]
    torch.testing.assert_close(answer, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("queries", [1, 200])
def test_values_kept_in_half_precision_are_summed_in_single(queries: int) -> None:
    values, shapes, locations, weights = draw(queries)
    half = sample_by_gather(values.half(), shapes, locations, weights)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, sample_by_gather(values.half().float(), shapes, locations, weights))


def test_rows_of_the_table_are_whole_numbers_in_any_image_one_can_have() -> None:
    shapes = ((700, 700), (350, 350), (175, 175), (88, 88))  # 5600 pixels wide
    layout = table_layout(shapes, 8, 1, torch.device("cpu"))
    values = torch.zeros(1, sum(h * w for h, w in shapes), 8, 1)
    values[0, -1, 7] = 1.0
    cells = torch.tensor([87.0, 87.0]).expand(1, 1, 8, 4, 1, 2).clone()
    weights = torch.tensor([0.0, 0.0, 0.0, 1.0]).view(1, 1, 1, 4, 1).expand(1, 1, 8, 4, 1)
    assert gather(values, layout, cells, weights)[0, 0].tolist() == [0.0] * 7 + [1.0]
