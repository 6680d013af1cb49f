"""The state of training: what a resumed run needs, and how a run starts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clickpose.errors import InvalidConfig
from clickpose.model import ClickPose
from clickpose.model.feedback import FeedbackLoop
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.skeleton import Skeleton
from clickpose.training.batches import Batch
from clickpose.training.config import TrainConfig
from clickpose.training.fast import prepare
from clickpose.training.forward import training_forward
from clickpose.training.losses import total_loss
from clickpose.training.person_frame.settings import DrawConfig
from clickpose.training.person_frame.step import CropTrainingStep
from clickpose.training.running_means import RunningMeans


@dataclass
class TrainState:
    """Everything that a resumed run needs: the network, its moving average, the optimiser and the current step.

    ``losses`` are the means of the epoch so far: an epoch may be resumed in its middle.
    """

    network: nn.Module  # a training step around the model, perhaps wrapped for data parallelism
    average: FeedbackLoop
    optimizer: torch.optim.Optimizer
    step: int = 0
    first_epoch: int = 0
    losses: RunningMeans = field(default_factory=RunningMeans)

    def state_dict(self, next_epoch: int) -> dict[str, Any]:
        """Collect what ``load_state_dict`` restores."""
        return {
            "network": unwrap(self.network).state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "first_epoch": next_epoch,
            "loss_means": self.losses.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        unwrap(self.network).load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.first_epoch = state["step"], state["first_epoch"]
        self.losses.load_state_dict(state.get("loss_means", {}), next(self.average.parameters()).device)


def unwrap(network: nn.Module) -> FeedbackLoop:
    """Return the model inside a training step and a data-parallel wrapper, or the model itself."""
    inner = getattr(network, "module", network)
    model = getattr(inner, "model", inner)
    assert isinstance(model, FeedbackLoop)
    return model


class TrainingStep(nn.Module):
    """The loss of a batch as a module's forward, so that data parallelism sees every parameter's use."""

    def __init__(self, model: ClickPose, skeleton: Skeleton, config: TrainConfig) -> None:
        super().__init__()
        self.model, self.skeleton, self.config = model, skeleton, config
        self.sigmas: Tensor
        self.register_buffer("sigmas", torch.from_numpy(skeleton.sigma_array), persistent=False)

    def forward(
        self, batch: Batch, num_persons: float, num_images: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss and the last layer's losses by name.

        Args:
            batch: all, or a part, of what one step sees.
            num_persons: that the step sees, averaged over processes.
            num_images: that the step sees in this process.
            generator: random generator.
        """
        batch = batch.to(self.sigmas.device)
        output = training_forward(self.model, batch, self.skeleton, self.config, generator)
        return total_loss(output, batch.targets, self.sigmas, self.config.losses, num_persons, num_images)


def build_state(model: ClickPose | PersonFrameNetwork, skeleton: Skeleton, config: TrainConfig) -> TrainState:
    """Prepare a model for training; wrap ``state.network`` for data parallelism afterwards if needed.

    Raises:
        InvalidConfig: the settings are those of the other form of the method.
    """
    average = copy.deepcopy(model).eval().requires_grad_(False)
    freeze(model, config.frozen)
    step: nn.Module
    if isinstance(model, ClickPose):
        _check_form(config, is_frame=False)
        prepare(model, precision=config.precision, checkpoint_activations=config.checkpoint_activations)
        step = TrainingStep(model, skeleton, config)
    else:
        _check_form(config, is_frame=True)
        step = CropTrainingStep(model, skeleton, config.loop)
    return TrainState(step, average, build_optimizer(model, config))


def _check_form(config: TrainConfig, *, is_frame: bool) -> None:
    if isinstance(config.augment, DrawConfig) != is_frame:
        form, other = ("person's frame", "published form") if is_frame else ("published form", "person's frame")
        raise InvalidConfig(
            f"the model has the {form}, the training settings are for the {other}: choose another recipe"
        )


def freeze(model: nn.Module, beginnings: Sequence[str]) -> None:
    """Freeze the weights whose names start with one of these prefixes.

    Raises:
        InvalidConfig: no weight's name starts with a prefix.
    """
    for beginning in beginnings:
        frozen = [p for name, p in model.named_parameters() if name.startswith(beginning)]
        if not frozen:
            raise InvalidConfig(f"frozen is {beginning!r}, but no weight's name starts with it")
        for parameter in frozen:
            parameter.requires_grad_(False)


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW with a separate rate for what sees the image, backbone or looker, without frozen parameters."""
    trained = [
        (name.startswith(("backbone.", "looker.")), p) for name, p in model.named_parameters() if p.requires_grad
    ]
    backbone, others = ([p for sees, p in trained if sees == wanted] for wanted in (True, False))
    groups = [
        {"params": others, "lr": config.learning_rate, "base_lr": config.learning_rate},
        {"params": backbone, "lr": config.backbone_learning_rate, "base_lr": config.backbone_learning_rate},
    ]
    return torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)
