"""Training in plain PyTorch: what one epoch does, in the order in which it happens."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clickpose.errors import TrainingDiverged
from clickpose.model.feedback import FeedbackLoop
from clickpose.training.batches import Batch
from clickpose.training.config import TrainConfig
from clickpose.training.person_frame.batches import CropBatch
from clickpose.training.person_frame.packing import PackedBatch
from clickpose.training.running_means import RunningMeans
from clickpose.training.state import TrainState, unwrap

AnyBatch: TypeAlias = Batch | CropBatch | PackedBatch


def rate_factor(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Return what the learning rates are multiplied by at a step."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    progress = min(1.0, step / max(1, config.epochs * steps_per_epoch))
    if config.schedule == "cosine":
        return warmup * 0.5 * (1 + math.cos(math.pi * progress))
    if config.schedule == "step" and progress >= config.drop_after:
        return warmup * 0.1
    return warmup


def train_one_epoch(
    state: TrainState,
    batches: Iterable[AnyBatch],
    config: TrainConfig,
    steps_per_epoch: int,
    on_step: Callable[[int, Mapping[str, Tensor]], None] | None = None,
) -> dict[str, float]:
    """Train on every batch once.

    Args:
        state: changed in place.
        batches: of one epoch, or those that are left of one that is resumed.
        config: of the run.
        steps_per_epoch: for the schedule.
        on_step: called after each step with its number and losses; converting one to a float waits for the device.

    Returns:
        The mean of each loss over the epoch, as ``train/NAME``.

    Raises:
        TrainingDiverged: a loss is not finite.
    """
    state.network.train()
    for batches_of_step in chunks(batches, config.accumulate):
        losses = train_step(state, batches_of_step, config, rate_factor(config, state.step, steps_per_epoch))
        if on_step is not None:
            on_step(state.step, losses)
    means, state.losses = state.losses.read(), RunningMeans()
    return {f"train/{name}": value for name, value in means.items()}


def train_step(state: TrainState, batches: Sequence[AnyBatch], config: TrainConfig, factor: float) -> dict[str, Tensor]:
    """Take one step on some batches with the rates times a factor; return its losses by name.

    Raises:
        TrainingDiverged: a loss is not finite.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
    state.optimizer.zero_grad(set_to_none=True)
    losses = backward(state, batches, config)
    nn.utils.clip_grad_norm_([p for g in state.optimizer.param_groups for p in g["params"]], config.clip_norm)
    state.optimizer.step()
    update_average(state.average, unwrap(state.network), config.ema_decay, state.step)
    state.step += 1
    state.losses.add(losses)
    return losses


def backward(state: TrainState, batches: Sequence[AnyBatch], config: TrainConfig) -> dict[str, Tensor]:
    """Add up the gradients of one step's batches, as if they were one; return its losses by name.

    Raises:
        TrainingDiverged: the loss is not finite. To know it, this waits for the device, once.
    """
    counts = [count for batch in batches for count in batch.persons_per_image]
    num_persons = mean_over_processes(float(sum(counts)), next(state.average.parameters()).device)
    losses: dict[str, Tensor] = {}
    for i, batch in enumerate(batches):
        seed = config.seed * 1_000_003 + state.step * config.accumulate + i
        loss, logs = state.network(batch, num_persons, len(counts), torch.Generator().manual_seed(seed))
        loss.backward()
        for name, value in {"loss": loss.detach(), **logs}.items():
            losses[name] = losses[name] + value if name in losses else value
    if not math.isfinite(total := float(losses["loss"])):
        raise TrainingDiverged(f"the loss of step {state.step} is {total}")
    return losses


def chunks(batches: Iterable[AnyBatch], size: int) -> Iterator[list[AnyBatch]]:
    """Yield the batches in lists of ``size``; the last may be shorter."""
    remaining = iter(batches)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


@torch.no_grad()
def update_average(average: FeedbackLoop, model: FeedbackLoop, decay: float, step: int) -> None:
    """Move the average towards the model, each tensor once; faster in the first steps, as they change most."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def mean_over_processes(value: float, device: torch.device) -> float:
    """Average a number over all training processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = torch.tensor(value, device=device)
    dist.all_reduce(total)
    return float(total) / dist.get_world_size()
