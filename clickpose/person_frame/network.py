"""The paper's pose layers on a looker's maps of one person's crop, and the confidence of each keypoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from clickpose.boxes import extend_to_keypoints
from clickpose.first_guess.looker import WIDTHS, MoveNetLooker
from clickpose.first_guess.movenet import MoveNet
from clickpose.first_guess.networks import looker_weights, make_looker
from clickpose.model.config import ModelConfig
from clickpose.model.decoder import Decoder, LayerOutput, LayerValues
from clickpose.model.feedback import FeedbackLoop
from clickpose.person_frame.config import PersonFrameConfig
from clickpose.person_frame.maps import MapAttention, MapProjection, Maps

EDGE = 0.002  # coordinates are kept this far inside the frame, where the sigmoid still moves them


@dataclass(frozen=True)
class RoundOutput:
    """One round of the loop on N persons, each in a frame of its own.

    Attributes:
        layers: output of each pose layer; boxes ``(N, 1, 4)``, keypoints ``(N, 1, K, 2)``.
        given: ``(N, K, 2)`` confidence in the place that each keypoint was given, as logits: the chance that it lies
            within tolerance, and its expected OKS term.
        answered: ``(N, K, 2)`` the same for the answered place.
    """

    layers: Sequence[LayerOutput]
    given: Tensor
    answered: Tensor

    @property
    def keypoints(self) -> Tensor:
        """``(N, K, 2)`` the answer."""
        keypoints = self.layers[-1].keypoints
        assert keypoints is not None
        return keypoints[:, 0]

    def settle(self, keypoints: Tensor, free: Tensor, config: PersonFrameConfig) -> tuple[Tensor, Tensor]:
        """Move the free keypoints where that is expected to help.

        Args:
            keypoints: ``(N, K, 2)`` as given.
            free: ``(N, K)`` bool, False where a keypoint is held.
            config: the chance above which a given place stays, and the calibration.

        Returns:
            ``(N, K, 2)`` places, and ``(N, K)`` the chance in [0, 1] that each lies within tolerance.
        """
        scale, shift = config.calibration
        given, answered = ((logits[..., 0] * scale + shift).sigmoid() for logits in (self.given, self.answered))
        gain = self.answered[..., 1].sigmoid() - self.given[..., 1].sigmoid()
        moves = free & ((given <= config.keep_above) | (gain > 0))
        return torch.where(moves[..., None], self.keypoints, keypoints), torch.where(moves, answered, given)


class PersonFrameNetwork(FeedbackLoop):
    """The pose layers (section 3.2 of the paper) in the person's frame; a tolerance is an OKS term of .85.

    Two linear read-outs of the keypoint tokens are not the paper's: after the first layer, the quality of the given
    place, and after the last, that of the answered one.

    Attributes:
        looker: the network that sees crops, frozen, if it is the model's own; None for the packaged one.
    """

    def __init__(self, config: PersonFrameConfig) -> None:
        super().__init__(config.pose_config())
        self.frame_config = config
        self.projection = MapProjection(self.config)
        self.add_loop(_decoder_of_maps(self.config))
        self.given, self.answered = nn.Linear(config.width, 2), nn.Linear(config.width, 2)
        self.reset_decoder()
        self.looker = MoveNet(WIDTHS[config.looker]).requires_grad_(False) if config.own_looker else None

    def with_settings(self, **changes: Any) -> PersonFrameNetwork:
        """Return a copy with the same weights and some settings of its configuration changed.

        With another ``looker``, or without ``own_looker``, the copy has none of its own.
        """
        if changes.get("looker", self.frame_config.looker) != self.frame_config.looker:
            changes["own_looker"] = False
        copy = PersonFrameNetwork(replace(self.frame_config, **changes))
        own = copy.state_dict()
        copy.load_state_dict({name: weight for name, weight in self.state_dict().items() if name in own})
        return copy

    def with_own_looker(self) -> PersonFrameNetwork:
        """Return a copy whose looker can be trained further; it starts from the packaged weights."""
        if self.looker is not None:
            return self.with_settings()
        copy = PersonFrameNetwork(replace(self.frame_config, own_looker=True))
        packaged = {f"looker.{name}": weight for name, weight in looker_weights(self.frame_config.looker).items()}
        copy.load_state_dict({**self.state_dict(), **packaged})
        return copy

    def make_looker(self, device: torch.device, dtype: torch.dtype | None = None) -> MoveNetLooker:
        """Return the looker of this model, ready to look at crops, in a precision; None for the fast one."""
        own = None if self.looker is None else self.looker.state_dict()
        return make_looker(self.frame_config.looker, device, dtype, own)

    def see(self, maps: Sequence[Tensor], window: Tensor | None = None) -> Maps:
        """Prepare a looker's maps ``(B, h, w, C)`` for any number of rounds."""
        return self.projection(maps, window)  # type: ignore[no-any-return]

    def start(self, boxes: Tensor) -> Tensor:
        """Return where keypoints lie in a person of whom only the box ``(N, 4)`` is known: ``(N, K, 2)``, learned."""
        content = boxes.new_zeros(len(boxes), 1, self.config.width)
        return self.decoder.start_poses(content, boxes[:, None])[1][:, 0, 1:, :2]

    def play(self, boxes: Tensor, keypoints: Tensor, maps: Maps, free: Tensor) -> RoundOutput:
        """Let the free keypoints of N persons answer to those held.

        Args:
            boxes: ``(N, 4)`` ``cxcywh`` in the frame.
            keypoints: ``(N, K, 2)`` in the frame, held ones where a human placed them.
            maps: of the N crops.
            free: ``(N, K)`` 1 where a keypoint may move, 0 where it is held.
        """
        keypoints = keypoints.clamp(EDGE, 1 - EDGE)
        touched = (free < 1).any(-1, keepdim=True)
        boxes = torch.where(touched, extend_to_keypoints(boxes, keypoints.detach()), boxes).clamp(EDGE, 1 - EDGE)
        values = LayerValues((maps,) * self.config.pose_layers, maps.shapes, boxes.new_ones(1, 3, 2))  # type: ignore[arg-type]
        layers = self.refine(boxes[:, None], keypoints[:, None], values, free[:, None])
        first, last = (_keypoint_tokens(layers[i]) for i in (0, -1))
        return RoundOutput(layers, self.given(first), self.answered(last))


def _decoder_of_maps(config: ModelConfig) -> Decoder:
    decoder = Decoder(config)
    for layer in decoder.layers:
        layer.cross_attention = MapAttention(config)
    return decoder


def _keypoint_tokens(layer: LayerOutput) -> Tensor:
    assert layer.tokens is not None
    return layer.tokens[:, 0, 1:]
