"""Size and shape of a model. Presets are functions; ``resnet50_coco()`` is the published model to the last number."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clickpose.errors import InvalidConfig

PADDINGS = {"resnet50": ("both",), "resnet18": ("both",), "mobilenet_v2": ("both", "end")}
BACKBONES = tuple(PADDINGS)
RETIRED = {"reconsider", "min_confidence"}  # settings in older model folders, ignored since
SIZES = (
    "num_keypoints",
    "width",
    "ffn_width",
    "num_heads",
    "num_points",
    "encoder_layers",
    "person_layers",
    "pose_layers",
    "num_queries",
    "num_persons",
    "num_refined",
    "short_side_px",
    "long_side_px",
)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of the weights and the arithmetic between them.

    Attributes:
        num_keypoints: K.
        backbone: a torchvision network, one of ``BACKBONES``.
        backbone_padding: where its strided convolutions pad: on ``both`` sides, as torchvision's weights were trained,
            or, of a MobileNetV2, at the ``end`` only, right and bottom, as TensorFlow's weights were.
        width: D, channels of every token.
        ffn_width: hidden channels of the feed-forward blocks.
        num_heads: attention heads; divides ``width``.
        num_levels: feature levels of stride 8, 16, 32, (64).
        num_points: sampling points of deformable attention per head and level.
        encoder_layers: deformable encoder layers.
        encoder_first_level: the encoder refines the tokens of this level and coarser ones, and proposals come
            from them; finer levels are only looked at. 0 refines all, as published.
        person_layers: decoder layers over boxes; 0 where persons come from elsewhere.
        pose_layers: decoder layers over persons and keypoints; the feedback loop runs these again.
        num_queries: proposals that enter the decoder.
        num_persons: N, persons that enter the pose layers.
        num_refined: persons that the training loop refines.
        short_side_px: inference size of the shorter side.
        long_side_px: limit on the longer side.
        pixel_mean: subtracted from RGB in [0, 1].
        pixel_std: divided by afterwards.
        silent_rounds: rounds of the feedback loop, without any click, after detection; 0 as published. One round of a
            small model corrects its own first guess; persons keep their first score, which ranks them better.
        mark_held: held keypoints of the loop carry a learned embedding that marks them as fixed; False as published,
            where a keypoint set by a human looks like any other.
        min_score: persons scored lower are not shown to an annotator.
    """

    num_keypoints: int
    backbone: str = "resnet50"
    backbone_padding: str = "both"
    width: int = 256
    ffn_width: int = 2048
    num_heads: int = 8
    num_levels: int = 4
    num_points: int = 4
    encoder_layers: int = 6
    encoder_first_level: int = 0
    person_layers: int = 2
    pose_layers: int = 4
    num_queries: int = 900
    num_persons: int = 50
    num_refined: int = 20
    short_side_px: int = 800
    long_side_px: int = 1333
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    pixel_std: tuple[float, float, float] = IMAGENET_STD
    silent_rounds: int = 0
    mark_held: bool = False
    min_score: float = 0.3

    def __post_init__(self) -> None:
        """Check the sizes."""
        for name in SIZES:
            value = getattr(self, name)
            least = 0 if name == "person_layers" else 1
            if not isinstance(value, int) or value < least:
                raise InvalidConfig(f"{name} is {value!r}, must be a whole number of at least {least}")
        if self.backbone not in BACKBONES:
            raise InvalidConfig(f"backbone {self.backbone!r} is not one of {', '.join(BACKBONES)}")
        if self.backbone_padding not in PADDINGS[self.backbone]:
            allowed = " or ".join(PADDINGS[self.backbone])
            raise InvalidConfig(f"backbone_padding of {self.backbone} is {self.backbone_padding!r}, must be {allowed}")
        if self.width % (4 * self.num_heads) or self.width % 32:
            raise InvalidConfig(f"width {self.width} must be a multiple of 32 and of 4 x {self.num_heads} heads")
        if self.num_levels not in (3, 4):
            raise InvalidConfig(f"num_levels is {self.num_levels}, must be 3 or 4")
        if not 0 <= self.encoder_first_level < self.num_levels:
            raise InvalidConfig(f"encoder_first_level {self.encoder_first_level} is outside 0..{self.num_levels - 1}")
        if not 1 <= self.num_refined <= self.num_persons <= self.num_queries:
            raise InvalidConfig("num_refined <= num_persons <= num_queries must hold")
        for name in ("pixel_mean", "pixel_std"):
            if not isinstance(getattr(self, name), tuple) or len(getattr(self, name)) != 3:
                raise InvalidConfig(f"{name} is {getattr(self, name)!r}, must be three numbers")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Build a configuration from plain values.

        Raises:
            InvalidConfig: a name is unknown or missing, or a value out of range.
        """
        if not isinstance(values, Mapping):
            raise InvalidConfig(f"model settings must be an object, not {values!r}")
        values = {name: value for name, value in values.items() if name not in RETIRED}
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise InvalidConfig(f"unknown model settings: {', '.join(sorted(unknown))}")
        tuples = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        try:
            return cls(**{**values, **tuples})
        except TypeError as error:
            raise InvalidConfig(f"model settings: {error}") from error


def resnet50_coco(num_keypoints: int = 17) -> ModelConfig:
    """Return the published model: ResNet-50, 900 queries, 50 persons, 800 x 1333 pixels."""
    return ModelConfig(num_keypoints)


def mobilenet_v2_demo(num_keypoints: int = 14) -> ModelConfig:
    """Return the small model that comes with this package, for laptops."""
    return ModelConfig(
        num_keypoints,
        backbone="mobilenet_v2",
        backbone_padding="end",
        width=128,
        ffn_width=256,
        num_levels=3,
        encoder_layers=2,
        encoder_first_level=1,
        person_layers=1,
        pose_layers=3,
        num_queries=60,
        num_persons=6,
        num_refined=6,
        short_side_px=192,
        long_side_px=256,
        silent_rounds=1,
        mark_held=True,
        pixel_mean=(0.5, 0.5, 0.5),
        pixel_std=(0.5, 0.5, 0.5),
    )


def tiny(num_keypoints: int = 14) -> ModelConfig:
    """Return a model for tests: every part is there, and a forward pass takes milliseconds."""
    return ModelConfig(
        num_keypoints,
        backbone="mobilenet_v2",
        width=32,
        ffn_width=32,
        num_heads=4,
        num_levels=3,
        num_points=2,
        encoder_layers=1,
        person_layers=1,
        pose_layers=2,
        num_queries=12,
        num_persons=5,
        num_refined=4,
        short_side_px=64,
        long_side_px=128,
        min_score=0.0,
    )
