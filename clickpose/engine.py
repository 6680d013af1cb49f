"""Training in plain PyTorch: what one epoch does, and the state that survives between epochs."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clickpose.errors import InvalidConfig
from clickpose.model import ClickPose
from clickpose.model.kernels import use_compiled_sampling
from clickpose.training.augment import AugmentConfig
from clickpose.training.batches import Batch
from clickpose.training.feedback import FeedbackConfig
from clickpose.training.forward import training_forward
from clickpose.training.losses import LossConfig, total_loss

SCHEDULES = ("step", "cosine", "constant")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained; the defaults are the published ones.

    Attributes:
        epochs: passes over the data.
        batch_size: scenes a batch and worker.
        scenes_per_epoch: None for one per picture.
        learning_rate: of AdamW.
        backbone_learning_rate: of the backbone's weights.
        weight_decay: of AdamW, on every parameter.
        clip_norm: limit on the norm of the gradient.
        schedule: "step" divides the rates by ten after ``drop_epoch``, "cosine" lets them fall to nought.
        drop_epoch: for "step".
        warmup_steps: steps over which the rates rise linearly.
        ema_decay: of the moving average that is saved and evaluated.
        num_denoised: noised queries a picture; 0 for none.
        seed: of pictures, noise and clicks.
        feedback: the annotator of the training loop.
        losses: weights of the losses.
        augment: how scenes vary.
    """

    epochs: int = 100
    batch_size: int = 4
    scenes_per_epoch: int | None = None
    learning_rate: float = 1e-4
    backbone_learning_rate: float = 1e-5
    weight_decay: float = 1e-4
    clip_norm: float = 0.1
    schedule: str = "step"
    drop_epoch: int = 80
    warmup_steps: int = 0
    ema_decay: float = 0.9997
    num_denoised: int = 50
    seed: int = 0
    feedback: FeedbackConfig = field(default_factory=FeedbackConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.schedule not in SCHEDULES:
            raise InvalidConfig(f"schedule is {self.schedule!r}, must be one of {', '.join(SCHEDULES)}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be at least 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Build a configuration from plain values.

        Raises:
            InvalidConfig: a name is unknown or a value out of range.
        """
        parts = {"feedback": FeedbackConfig, "losses": LossConfig, "augment": AugmentConfig}
        try:
            built = {name: _build(part, values[name]) for name, part in parts.items() if name in values}
            return cls(**{**values, **built})
        except TypeError as error:
            raise InvalidConfig(f"training settings: {error}") from error


def demo_training(**changes: Any) -> TrainConfig:
    """Return how the small demo model is trained from scratch on a laptop's processor."""
    config = TrainConfig(
        epochs=8,
        batch_size=16,
        learning_rate=5e-4,
        backbone_learning_rate=1e-4,
        clip_norm=0.5,
        schedule="cosine",
        warmup_steps=200,
        ema_decay=0.999,
        num_denoised=6,
        feedback=FeedbackConfig(probability=0.5, max_rounds=1, max_clicks=3, hold="all"),
        losses=LossConfig(score_target="oks"),
    )
    return dataclasses.replace(config, **changes)


def fine_tuning(**changes: Any) -> TrainConfig:
    """Return how a trained model learns from some dozen newly annotated pictures, in a minute without a GPU."""
    config = demo_training(
        epochs=4,
        batch_size=8,
        scenes_per_epoch=64,
        learning_rate=1e-4,
        backbone_learning_rate=1e-5,
        warmup_steps=8,
        ema_decay=0.9,
    )
    return dataclasses.replace(config, **changes)


def tune_for_cpu(num_threads: int) -> None:
    """Set this process up to train on a CPU: compiled sampling where a compiler is, bf16 inside matrix products.

    Coordinates stay float32. Fused attention is switched off, as it is the slower one for short sequences.
    """
    torch.set_num_threads(num_threads)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cuda.enable_flash_sdp(False)  # this switch governs the CPU as well
    use_compiled_sampling()


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

    def __init__(self, model: ClickPose, sigmas: Tensor, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.sigmas: Tensor
        self.register_buffer("sigmas", sigmas, persistent=False)

    def forward(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the scalar loss and the last layer's losses by name."""
        device = self.sigmas.device
        targets = [target.to(device) for target in batch.targets]
        output = training_forward(
            self.model,
            batch.images.to(device),
            None,
            targets,
            self.sigmas,
            num_denoised=self.config.num_denoised,
            feedback=self.config.feedback,
            generator=generator,
        )
        num_persons = mean_over_processes(float(sum(len(target) for target in targets)), device)
        return total_loss(output, targets, self.sigmas, self.config.losses, num_persons)


def build_state(model: ClickPose, sigmas: Tensor, config: TrainConfig) -> TrainState:
    """Put a model under training; wrap ``state.network`` for data parallelism afterwards if need be."""
    average = copy.deepcopy(model).eval().requires_grad_(False)
    return TrainState(TrainingStep(model, sigmas, config), average, build_optimizer(model, config))


def build_optimizer(model: ClickPose, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW with a rate of its own for the backbone; parameters that are frozen stay out."""
    backbone = [p for name, p in model.named_parameters() if p.requires_grad and name.startswith("backbone.")]
    others = [p for name, p in model.named_parameters() if p.requires_grad and not name.startswith("backbone.")]
    groups = [
        {"params": others, "lr": config.learning_rate, "base_lr": config.learning_rate},
        {"params": backbone, "lr": config.backbone_learning_rate, "base_lr": config.backbone_learning_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay)


def rate_factor(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """Return what the learning rates are multiplied by at a step."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        progress = min(1.0, step / max(1, config.epochs * steps_per_epoch))
        return warmup * 0.5 * (1 + math.cos(math.pi * progress))
    if config.schedule == "step" and step >= config.drop_epoch * steps_per_epoch:
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
        steps_per_epoch: number of batches, for the schedule.
        on_step: called after each step with its number and losses, to show progress.

    Returns:
        The mean of each loss over the epoch, as ``train/NAME``.
    """
    state.network.train()
    sums: dict[str, list[float]] = {}
    for batch in batches:
        factor = rate_factor(config, state.step, steps_per_epoch)
        for group in state.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + state.step)
        loss, logs = state.network(batch, generator)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in state.optimizer.param_groups for p in g["params"]], config.clip_norm)
        state.optimizer.step()
        update_average(state.average, unwrap(state.network), config.ema_decay, state.step)
        state.step += 1
        for name, value in {"loss": float(loss.detach()), **logs}.items():
            sums.setdefault(name, []).append(value)
        if on_step is not None:
            on_step(state.step, logs)
    return {f"train/{name}": sum(values) / len(values) for name, values in sums.items()}


@torch.no_grad()
def update_average(average: ClickPose, model: ClickPose, decay: float, step: int) -> None:
    """Move the average towards the model, each tensor once; the first steps count more, so that no start lingers."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


def mean_over_processes(value: float, device: torch.device) -> float:
    """Average a number over all training processes."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = torch.tensor(value, device=device)
    dist.all_reduce(total)
    return float(total) / dist.get_world_size()


def _build(part: type, values: Any) -> Any:
    if isinstance(values, part):
        return values
    return part(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
