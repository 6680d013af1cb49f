"""How a model is trained. Presets are functions; the defaults are the published settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clickpose.errors import InvalidConfig
from clickpose.person_frame.config import FORM
from clickpose.training.crops import CropConfig
from clickpose.training.denoising import DenoisingConfig
from clickpose.training.feedback import FeedbackConfig
from clickpose.training.losses import LossConfig
from clickpose.training.person_frame.settings import DrawConfig, LoopConfig
from clickpose.training.scenes import SceneConfig

# The published denoising losses grow with the batch and the others do not: at 16 images they would dominate.
LIGHT_DENOISING = {"class": 0.04, "box": 0.3, "giou": 0.125, "keypoints": 0.6}

SCHEDULES = ("step", "cosine", "constant")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained; the defaults are the published ones.

    Attributes:
        epochs: passes over the data.
        batch_size: images per batch and worker.
        accumulate: batches per step, for a larger batch than fits into memory: their losses are divided by the persons
            of all of them, so that a step equals that of the large batch, apart from noise and clicks.
        scenes_per_epoch: images or scenes per epoch; None for one per image of the data.
        learning_rate: of AdamW.
        backbone_learning_rate: of the backbone's weights; in the person's frame, of those of a looker that are trained.
        weight_decay: of AdamW, on every parameter.
        clip_norm: limit on the norm of the gradient.
        schedule: "step" divides the rates by ten once, "cosine" lets them fall to zero.
        drop_after: share of all steps after which "step" does so.
        warmup_steps: steps over which the rates rise linearly.
        ema_decay: of the moving average that is saved and evaluated.
        precision: "float32", or "bfloat16" for matrix products and convolutions; coordinates and losses stay float32.
        checkpoint_activations: run backbone, encoder and decoder layers twice, to save memory.
        num_denoised: noised queries per image; 0 for none.
        frozen: prefixes of the names of weights that are not trained.
        seed: of images, noise and clicks.
        denoising: distance of noised queries from the truth.
        feedback: the annotator of the training loop.
        losses: weights of the losses.
        augment: the image augmentation: single images as published, several composed into a scene, or, in the person's
            frame, crops.
        loop: the annotator of training in the person's frame.
    """

    epochs: int = 100
    batch_size: int = 4
    accumulate: int = 1
    scenes_per_epoch: int | None = None
    learning_rate: float = 1e-4
    backbone_learning_rate: float = 1e-5
    weight_decay: float = 1e-4
    clip_norm: float = 0.1
    schedule: str = "step"
    drop_after: float = 0.8
    warmup_steps: int = 0
    ema_decay: float = 0.9997
    precision: str = "float32"
    checkpoint_activations: bool = False
    num_denoised: int = 50
    frozen: tuple[str, ...] = ()
    seed: int = 0
    denoising: DenoisingConfig = field(default_factory=DenoisingConfig)
    feedback: FeedbackConfig = field(default_factory=FeedbackConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    augment: CropConfig | SceneConfig | DrawConfig = field(default_factory=CropConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, known in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise InvalidConfig(f"{name} is {getattr(self, name)!r}, must be one of {', '.join(known)}")
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be at least 1")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must be above 0")
        for name in ("backbone_learning_rate", "weight_decay", "warmup_steps", "num_denoised"):
            if not getattr(self, name) >= 0:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must not be negative")
        if not 0 < self.drop_after <= 1:
            raise InvalidConfig(f"drop_after is {self.drop_after}, must be a share of the steps, in (0, 1]")
        if not 0 <= self.ema_decay < 1:
            raise InvalidConfig(f"ema_decay is {self.ema_decay}, must lie in [0, 1)")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Build a configuration from plain values.

        Raises:
            InvalidConfig: a name is unknown or a value out of range.
        """
        try:
            parts = {
                "denoising": DenoisingConfig,
                "feedback": FeedbackConfig,
                "losses": LossConfig,
                "loop": LoopConfig,
                "augment": _augment_of(values.get("augment", ())),
            }
            built = {name: _build(part, values[name]) for name, part in parts.items() if name in values}
            return cls(**{**values, **built, "frozen": tuple(values.get("frozen", ()))})
        except (AttributeError, TypeError) as error:
            raise InvalidConfig(f"training settings: {error}") from error


def published(**changes: Any) -> TrainConfig:
    """Return the published settings."""
    return TrainConfig(**changes)


def demo_training(**changes: Any) -> TrainConfig:
    """Return the settings to train the small demo model from scratch on a laptop's processor."""
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
        feedback=FeedbackConfig(probability=0.5, max_rounds=1, min_clicks=0, max_clicks=3, hold="all"),
        losses=LossConfig(denoising_weights=LIGHT_DENOISING, score_target="oks"),
        augment=SceneConfig(),
    )
    return dataclasses.replace(config, **changes)


def demo_finishing(**changes: Any) -> TrainConfig:
    """Return the settings to finish the demo model: fewer people per scene and weaker augmentation, at a lower rate."""
    config = demo_training(
        epochs=3,
        learning_rate=4e-4,
        backbone_learning_rate=8e-5,
        warmup_steps=50,
        feedback=FeedbackConfig(max_rounds=3, min_clicks=0, max_clicks=3, inversion=0.4, hold="all"),
        augment=SceneConfig(max_pictures=2, scale=(0.85, 1.25), rotation_deg=15.0, shift=0.06),
    )
    return dataclasses.replace(config, **changes)


def demo_clicks(**changes: Any) -> TrainConfig:
    """Return the settings to teach the finished demo model to follow clicks: many loops per step, pose layers only."""
    config = demo_finishing(
        epochs=2,
        learning_rate=3e-4,
        num_denoised=0,
        frozen=(
            "backbone.",
            "projection.",
            "encoder.",
            "proposal_head.",
            "decoder.reference_head.",
            "decoder.layers.0.",
            "decoder.class_heads.0.",
            "decoder.box_heads.0.",
        ),
        feedback=FeedbackConfig(repeats=4, max_rounds=3, min_clicks=0, max_clicks=3, inversion=0.5, hold="all"),
    )
    return dataclasses.replace(config, **changes)


def fine_tuning(**changes: Any) -> TrainConfig:
    """Return the settings to fine-tune a model on some dozen newly annotated images, in a minute on a CPU."""
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


def person_frame_training(**changes: Any) -> TrainConfig:
    """Return the settings to train the demo model's pose layers in the person's frame, in some hours on one core."""
    config = TrainConfig(
        epochs=40,
        batch_size=64,
        learning_rate=5e-4,
        clip_norm=1.0,
        schedule="cosine",
        warmup_steps=100,
        ema_decay=0.998,
        num_denoised=0,
        augment=DrawConfig(),
    )
    return dataclasses.replace(config, **changes)


def person_frame_tuning(**changes: Any) -> TrainConfig:
    """Return the settings to fine-tune pose layers on some dozen newly annotated images, in minutes without a GPU."""
    config = person_frame_training(
        epochs=2, batch_size=32, scenes_per_epoch=1600, learning_rate=1e-4, warmup_steps=10, ema_decay=0.95
    )
    return dataclasses.replace(config, **changes)


def training_for(model_config: Mapping[str, Any]) -> TrainConfig:
    """Return the settings to train a model from scratch, given the content of its ``config.json``."""
    return person_frame_training() if model_config.get("form") == FORM else published()


def fine_tuning_for(model_config: Mapping[str, Any]) -> TrainConfig:
    """Return the settings to fine-tune a model, given the content of its ``config.json``."""
    return person_frame_tuning() if model_config.get("form") == FORM else fine_tuning()


def _augment_of(values: Any) -> type:
    """Find the augmentation that has these settings."""
    if isinstance(values, CropConfig | SceneConfig | DrawConfig):
        return type(values)
    for part in (CropConfig, SceneConfig, DrawConfig):
        if set(values) <= {setting.name for setting in dataclasses.fields(part)}:
            return part
    raise InvalidConfig(f"augment: no augmentation has all of {', '.join(values)}")


def _build(part: type, values: Any) -> Any:
    if isinstance(values, part):
        return values
    return part(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
