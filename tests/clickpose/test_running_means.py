"""Losses are averaged over the steps that have them, also across an interruption."""

import torch

from clickpose.training.running_means import RunningMeans

CPU = torch.device("cpu")


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_each_name_is_averaged_over_the_steps_that_have_it() -> None:
    means = RunningMeans()
    means.add(scalars(box=1.0, feedback_box=8.0))
    means.add(scalars(box=3.0))
    assert means.read() == {"box": 2.0, "feedback_box": 8.0}


def test_means_continue_where_they_were_saved() -> None:
    before, after = RunningMeans(), RunningMeans()
    before.add(scalars(box=1.0))
    after.load_state_dict(before.state_dict(), CPU)
    after.add(scalars(box=3.0))
    assert after.read() == {"box": 2.0}


def test_no_graph_is_kept_alive() -> None:
    means, weight = RunningMeans(), torch.ones((), requires_grad=True)
    means.add({"loss": weight * 2})
    assert not means.sums["loss"].requires_grad
