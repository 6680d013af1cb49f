"""Training on pixels: the looker's last stages learn together with the pose layers.

Persons are drawn from packed squares as ``drawing.py`` draws them from images, but on the device and anew in every
step; what follows the look is the same as for kept crops, the loss included.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clickpose.errors import InvalidConfig
from clickpose.first_guess.looker import CROP_PX, look
from clickpose.person_frame.maps import KEPT_SIZES, resample
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.skeleton import Skeleton
from clickpose.training.config import TrainConfig
from clickpose.training.person_frame.batches import CropBatch, vary
from clickpose.training.person_frame.packing import PACKED_MARGIN, PackedBatch
from clickpose.training.person_frame.settings import DrawConfig
from clickpose.training.person_frame.step import CropTrainingStep
from clickpose.training.state import TrainState, build_optimizer

LAST_STAGES = ("lateral.", "top.", "smooth.", "heatmaps.")  # of MoveNet: its pyramid, and what it shows of keypoints
MAX_COLOUR = 0.2  # how far brightness, and each colour, are changed


def pixel_state(
    network: PersonFrameNetwork, skeleton: Skeleton, config: TrainConfig, released: Sequence[str] = LAST_STAGES
) -> TrainState:
    """Prepare a network, on its device, for training on pixels.

    Args:
        network: pose layers and looker to start from.
        skeleton: of K keypoints.
        config: ``learning_rate`` is that of the pose layers, ``backbone_learning_rate`` that of the looker.
        released: how the names of the looker's weights begin that are trained.

    Raises:
        InvalidConfig: the looker has no such weights, or the settings are those of the published form.
    """
    network = network.with_own_looker().to(next(network.parameters()).device)
    average = copy.deepcopy(network).eval().requires_grad_(False)
    for beginning in released:
        trained = [w for name, w in network.named_parameters() if name.startswith(f"looker.{beginning}")]
        if not trained:
            raise InvalidConfig(f"no weight of the looker has a name that starts with {beginning!r}")
        for weight in trained:
            weight.requires_grad_(True)
    step = PixelTrainingStep(network, skeleton, config).to(next(network.parameters()).device)
    return TrainState(step, average, build_optimizer(network, config))


class PixelTrainingStep(CropTrainingStep):
    """The loss of a batch of packed persons: draw the frame of each, look at it, and go on as with kept crops."""

    def __init__(self, model: PersonFrameNetwork, skeleton: Skeleton, config: TrainConfig) -> None:
        super().__init__(model, skeleton, config.loop)
        if not isinstance(config.augment, DrawConfig):
            raise InvalidConfig("a looker is trained in the person's frame: choose the recipe person-frame")
        self.config, self.draw = config, config.augment

    def forward(  # type: ignore[override]
        self, batch: PackedBatch, num_persons: float, num_images: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and logs of ``CropTrainingStep``, for frames drawn at random."""
        batch = batch.to(self.sigmas.device)
        squares = draw_squares(batch, self.draw, generator)
        pixels = recolour(squares.cut(batch.images, CROP_PX[self.model.frame_config.looker]), generator)
        crops = vary(self.look(pixels, batch, squares), generator)
        return super().forward(crops, num_persons, num_images, generator)

    def look(self, pixels: Tensor, batch: PackedBatch, squares: Squares) -> CropBatch:
        """Look at crops ``(B, 3, S, S)`` in 0..255 and put the truth beside."""
        assert self.model.looker is not None
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            seen = look(self.model.looker, pixels.to(memory_format=torch.channels_last))
        keypoints, visible = squares.to_frame(batch.keypoints), batch.visibility > 0
        names = torch.from_numpy(self.skeleton.flip_permutation).to(pixels.device)
        keypoints = torch.where(squares.mirrored[:, None, None], keypoints[:, names], keypoints)
        visible = torch.where(squares.mirrored[:, None], visible[:, names], visible)
        centre = squares.to_frame(batch.boxes[:, None, :2])[:, 0]
        return CropBatch(
            maps=tuple(resample(map_, size) for map_, size in zip(seen.maps, KEPT_SIZES, strict=True)),
            window=pixels.new_tensor([0.0, 0.0, 1.0]).expand(len(batch), 3),
            keypoints=keypoints,
            labelled=(visible & ((keypoints > 0) & (keypoints < 1)).all(-1)).float(),
            areas=batch.areas / squares.side.square(),
            boxes=torch.cat((centre, batch.boxes[:, 2:] / squares.side[:, None]), 1),
            looked=seen.keypoints,
        )


@dataclass(frozen=True)
class Squares:
    """The frames of B persons, in coordinates of their packed squares.

    Attributes:
        centre: ``(B, 2)``.
        side: ``(B,)``.
        turn: ``(B,)`` radians, from x towards y.
        mirrored: ``(B,)`` bool, whether left and right are exchanged in the frame.
    """

    centre: Tensor
    side: Tensor
    turn: Tensor
    mirrored: Tensor

    @property
    def axes(self) -> Tensor:
        """The frame's axes, ``(B, 2, 2)``, a column each."""
        cos, sin = self.turn.cos(), self.turn.sin()
        turned = torch.stack((cos, -sin, sin, cos), -1).unflatten(-1, (2, 2))
        signs = torch.stack((1 - 2.0 * self.mirrored.float(), torch.ones_like(cos)), -1)
        axes: Tensor = turned * self.side[:, None, None] * signs[:, None]
        return axes

    def to_frame(self, points: Tensor) -> Tensor:
        """Carry points ``(B, M, 2)`` of the packed squares over."""
        from_centre: Tensor = (points - self.centre[:, None]) @ torch.linalg.inv(self.axes).transpose(1, 2)
        return from_centre + 0.5

    def cut(self, images: Tensor, size: int) -> Tensor:
        """Cut the frames out of packed squares ``(B, 3, S, S)``: ``(B, 3, size, size)`` float32, black outside."""
        around = torch.cat((self.axes, (2 * self.centre - 1)[..., None]), -1)
        grid = F.affine_grid(around, [len(images), 3, size, size], align_corners=False)
        return F.grid_sample(images.float(), grid, align_corners=False)


def draw_squares(batch: PackedBatch, config: DrawConfig, generator: torch.Generator) -> Squares:
    """Draw a frame for each person: around the box, turned, scaled and shifted, or the finder's own."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(len(batch), *shape, generator=generator).to(batch.areas.device)

    is_found = (batch.found[:, 2] > 0) & (uniform(0, 1) < config.found_share)
    side = uniform(config.min_scale, config.max_scale) / PACKED_MARGIN
    turn = uniform(-config.max_turn, config.max_turn) * (uniform(0, 1) < 0.5) * ~is_found
    centre = 0.5 + uniform(-config.max_shift, config.max_shift, 2) * side[:, None]
    return Squares(
        torch.where(is_found[:, None], batch.found[:, :2], centre),
        torch.where(is_found, batch.found[:, 2], side),
        turn,
        uniform(0, 1) < 0.5,
    )


def recolour(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Change the brightness of images in 0..255, and each of their colours."""
    spread = torch.rand(len(pixels), 4, generator=generator).to(pixels.device) * 2 - 1
    gain = (1 + MAX_COLOUR * spread[:, :1]) * (1 + MAX_COLOUR / 2 * spread[:, 1:])
    return (pixels * gain[..., None, None]).clamp(0, 255)
