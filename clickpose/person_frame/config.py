"""Size and shape of the pose layers in a person's frame, and when a person is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clickpose.errors import InvalidConfig
from clickpose.first_guess.looker import WIDTHS
from clickpose.model.config import ModelConfig

FORM = "person_frame"


@dataclass(frozen=True)
class PersonFrameConfig:
    """Everything that decides the shape of the weights and the arithmetic between them.

    Attributes:
        num_keypoints: K.
        looker: which MoveNet looks at crops, ``thunder`` or ``lightning``.
        own_looker: whether its weights come with the model, trained further, instead of with the package.
        width: D, channels of every token.
        ffn_width: hidden channels of the feed-forward blocks.
        num_heads: attention heads; divides ``width``.
        num_points: sampling points of deformable attention per head and map.
        pose_layers: layers over a person and the keypoints; the feedback loop runs them again.
        silent_rounds: rounds of the feedback loop, without any click, that improve the first pose.
        min_score: the chance that there is a person, below which one is kept, but not shown to an annotator.
        keep_above: a keypoint whose given place is right with a higher chance moves only to a place with a higher one.
        calibration: scale and shift of the logits of both chances, fitted on images that nothing was trained on.
    """

    num_keypoints: int
    looker: str = "thunder"
    own_looker: bool = False
    width: int = 128
    ffn_width: int = 256
    num_heads: int = 8
    num_points: int = 4
    pose_layers: int = 3
    silent_rounds: int = 2
    min_score: float = 0.3
    keep_above: float = 0.4
    calibration: tuple[float, float] = (1.0, 0.0)

    def __post_init__(self) -> None:
        """Check the sizes."""
        self.pose_config()
        if self.looker not in WIDTHS:
            raise InvalidConfig(f"looker {self.looker!r} is not one of {', '.join(WIDTHS)}")
        for name in ("min_score", "keep_above"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidConfig(f"{name} is {getattr(self, name)}, must lie in [0, 1]")
        if len(self.calibration) != 2 or not self.calibration[0] > 0:
            raise InvalidConfig(f"calibration is {self.calibration}, must be a positive scale and a shift")

    def pose_config(self) -> ModelConfig:
        """Return the shape of the pose layers as the published model states it: one person, three maps."""
        return ModelConfig(
            self.num_keypoints,
            width=self.width,
            ffn_width=self.ffn_width,
            num_heads=self.num_heads,
            num_levels=3,
            num_points=self.num_points,
            person_layers=0,
            pose_layers=self.pose_layers,
            num_queries=1,
            num_persons=1,
            num_refined=1,
            mark_held=True,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back."""
        return {"form": FORM, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PersonFrameConfig:
        """Build a configuration from plain values.

        Raises:
            InvalidConfig: a name is unknown or missing, or a value out of range.
        """
        named = {name: value for name, value in values.items() if name != "form"}
        unknown = set(named) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise InvalidConfig(f"unknown model settings: {', '.join(sorted(unknown))}")
        if isinstance(named.get("calibration"), list):
            named["calibration"] = tuple(named["calibration"])
        try:
            return cls(**named)
        except TypeError as error:
            raise InvalidConfig(f"model settings: {error}") from error
