"""Training in plain PyTorch: what one epoch does, and the state that survives between epochs."""

from __future__ import annotations

import copy
import ctypes
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clickpose.errors import InvalidConfig
from clickpose.model import ClickPose
from clickpose.model.kernels import use_compiled_sampling
from clickpose.skeleton import Skeleton
from clickpose.training.batches import Batch
from clickpose.training.config import TrainConfig
from clickpose.training.folding import fold_norms
from clickpose.training.forward import training_forward
from clickpose.training.heavy_parts import lighten
from clickpose.training.losses import total_loss

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h


def tune_for_cpu(num_threads: int) -> None:
    """Set this process up to train on a CPU: compiled sampling where a compiler is, matrix products by oneDNN.

    These are bf16 inside on processors with AMX and float32 elsewhere; coordinates stay float32. Fused attention is
    switched off, as its backward pass is the slower one. Large buffers stay with the process.
    """
    torch.set_num_threads(num_threads)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.enable_flash_sdp(False)  # this switch governs the CPU as well
    use_compiled_sampling()
    keep_large_buffers()


def keep_large_buffers() -> None:
    """Let glibc reuse large buffers from step to step; each would cost a page fault for every 4 KiB otherwise."""
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # another C library
    set_option(M_MMAP_THRESHOLD, 2**30)
    set_option(M_TRIM_THRESHOLD, 2**31 - 1)


@dataclass
class TrainState:
    """Everything that a resumed run needs: the network, its moving average, the optimiser and the place in time."""

    network: nn.Module  # a ClickPose, perhaps wrapped for data parallelism
    average: ClickPose
    optimizer: torch.optim.Optimizer
    step: int = 0
    first_epoch: int = 0

    def state_dict(self, next_epoch: int) -> dict[str, Any]:
        """Collect what ``load_state_dict`` restores."""
        return {
            "network": unwrap(self.network).state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "first_epoch": next_epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        unwrap(self.network).load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.first_epoch = state["step"], state["first_epoch"]


def unwrap(network: nn.Module) -> ClickPose:
    """Return the model inside a data-parallel wrapper, or the model itself."""
    inner = getattr(network, "module", network)
    model = getattr(inner, "model", inner)
    assert isinstance(model, ClickPose)
    return model


class TrainingStep(nn.Module):
    """The loss of a batch as a module's forward, so that data parallelism sees every parameter's use."""

    def __init__(self, model: ClickPose, skeleton: Skeleton, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.skeleton, self.config = model, skeleton, config
        self.sigmas: Tensor
        self.register_buffer("sigmas", torch.from_numpy(skeleton.sigma_array), persistent=False)

    def forward(
        self, batch: Batch, num_persons: float, num_pictures: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the scalar loss and the last layer's losses by name.

        Args:
            batch: all, or a part, of what one step sees.
            num_persons: that the step sees, averaged over processes.
            num_pictures: that the step sees in this process.
            generator: of all that is random.
        """
        batch = batch.to(self.sigmas.device)
        output = training_forward(self.model, batch, self.skeleton, self.config, generator)
        return total_loss(output, batch.targets, self.sigmas, self.config.losses, num_persons, num_pictures)


def build_state(model: ClickPose, skeleton: Skeleton, config: TrainConfig) -> TrainState:
    """Put a model under training; wrap ``state.network`` for data parallelism afterwards if need be."""
    average = copy.deepcopy(model).eval().requires_grad_(False)
    freeze(model, config.frozen)
    lighten(model, precision=config.precision, checkpoint_activations=config.checkpoint_activations)
    fold_norms(model.backbone)
    return TrainState(TrainingStep(model, skeleton, config), average, build_optimizer(model, config))


def freeze(model: ClickPose, beginnings: Sequence[str]) -> None:
    """Keep the weights whose names begin so as they are.

    Raises:
        InvalidConfig: no weight's name begins so.
    """
    for beginning in beginnings:
        frozen = [p for name, p in model.named_parameters() if name.startswith(beginning)]
        if not frozen:
            raise InvalidConfig(f"frozen names {beginning!r}, but no weight's name begins so")
        for parameter in frozen:
            parameter.requires_grad_(False)


def build_optimizer(model: ClickPose, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with a rate of its own for the backbone; parameters that are frozen stay out."""
    backbone = [p for name, p in model.named_parameters() if p.requires_grad and name.startswith("backbone.")]
    others = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith("backbone.")]
    groups = [
        {"params": others, "lr": config.learning_rate, "base_lr": config.learning_rate},
        {"params": backbone, "lr": config.backbone_learning_rate, "base_lr": config.backbone_learning_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)


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
    batches: Iterable[Batch],
    config: TrainConfig,
    steps_per_epoch: int,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
) -> dict[str, float]:
    """Train on every batch once.

    Args:
        state: changed in place.
        batches: of one epoch.
        config: of the run.
        steps_per_epoch: for the schedule.
        on_step: called after each step with its number and losses, to show progress.

    Returns:
        The mean of each loss over the epoch, as ``train/NAME``.
    """
    state.network.train()
    sums: dict[str, list[float]] = {}
    for batches_of_step in chunks(batches, config.accumulate):
        factor = rate_factor(config, state.step, steps_per_epoch)
        for group in state.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        state.optimizer.zero_grad(set_to_none=True)
        losses = backward(state, batches_of_step, config)
        nn.utils.clip_grad_norm_([p for g in state.optimizer.param_groups for p in g["params"]], config.clip_norm)
        state.optimizer.step()
        update_average(state.average, unwrap(state.network), config.ema_decay, state.step)
        state.step += 1
        for name, value in losses.items():
            sums.setdefault(name, []).append(value)
        if on_step is not None:
            on_step(state.step, losses)
    return {f"train/{name}": sum(values) / len(values) for name, values in sums.items()}


def backward(state: TrainState, batches: Sequence[Batch], config: TrainConfig) -> dict[str, float]:
    """Add up the gradients of one step's batches, as if they were one; return its losses by name."""
    counts = [len(target) for batch in batches for target in batch.targets]
    num_persons = mean_over_processes(float(sum(counts)), next(state.average.parameters()).device)
    losses: dict[str, float] = {}
    for i, batch in enumerate(batches):
        seed = config.seed * 1_000_003 + state.step * config.accumulate + i
        loss, logs = state.network(batch, num_persons, len(counts), torch.Generator().manual_seed(seed))
        loss.backward()
        for name, value in {"loss": float(loss.detach()), **logs}.items():
            losses[name] = losses.get(name, 0.0) + value
    return losses


def chunks(batches: Iterable[Batch], size: int) -> Iterator[list[Batch]]:
    """Take the batches ``size`` at a time; the last chunk may be smaller."""
    remaining = iter(batches)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


@torch.no_grad()
def update_average(average: ClickPose, model: ClickPose, decay: float, step: int) -> None:
    """Move the average towards the model, each tensor once; the first steps count more, so that no start lingers."""
    decay = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def mean_over_processes(value: float, device: torch.device) -> float:
    """Average a number over all training processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = torch.tensor(value, device=device)
    dist.all_reduce(total)
    return float(total) / dist.get_world_size()
