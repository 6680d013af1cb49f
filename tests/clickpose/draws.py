"""Whether what is drawn at random is drawn as it should be; seeds are fixed, so an answer stays the same."""

from __future__ import annotations

import torch
from scipy import stats

FOUR_SIGMA = 4
CERTAIN = 20  # what is expected as often comes but once in half a billion times not at all
RARE = 1e-4  # how unlikely a fair draw must look before it counts as unfair


def inverse_squares(last: int) -> torch.Tensor:
    weights = 1 / torch.arange(1, last + 1, dtype=torch.float64) ** 2
    return weights / weights.sum()


def assert_share(found: torch.Tensor, share: float) -> None:
    """A share of many draws, within four standard deviations."""
    draws = found.numel()
    assert abs(float(found.float().mean()) - share) <= FOUR_SIGMA * (share * (1 - share) / draws) ** 0.5


def assert_distributed(drawn: torch.Tensor, expected: torch.Tensor) -> None:
    """Numbers 0, 1, ... come as often as expected: Pearson's chi-square, what comes less than 5 times put together."""
    wanted = expected.double() / expected.double().sum() * len(drawn)
    counts = torch.bincount(drawn, minlength=len(expected)).double()
    assert len(counts) == len(expected) and not counts[wanted == 0].any()
    assert (counts[wanted >= CERTAIN] > 0).all()  # one number of a hundred weighs too little in the sum below
    often = wanted >= 5
    observed = torch.cat((counts[often], counts[~often].sum()[None]))
    predicted = torch.cat((wanted[often], wanted[~often].sum()[None]))
    kept = predicted > 0
    if kept.sum() > 1:
        assert stats.chisquare(observed[kept], predicted[kept]).pvalue > RARE


def assert_even(drawn: torch.Tensor, limit: float) -> None:
    """Numbers are spread evenly over [-limit, limit]: Kolmogorov and Smirnov."""
    assert drawn.abs().max() <= limit * (1 + 1e-4)
    assert stats.kstest(drawn.numpy(), stats.uniform(-limit, 2 * limit).cdf).pvalue > RARE
