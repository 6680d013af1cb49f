"""The whole model: encode an image, find persons, estimate poses, refine them by clicks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clickpose.boxes import extend_to_keypoints
from clickpose.model.backbone import Backbone
from clickpose.model.config import ModelConfig
from clickpose.model.decoder import Decoder, LayerOutput, LayerValues
from clickpose.model.encoder import Encoder, FeatureProjection, Tokens
from clickpose.model.feedback import FeedbackLoop, xavier_matrices
from clickpose.model.proposals import ProposalHead, Proposals, take


@dataclass(frozen=True)
class Persons:
    """Persons found in an image, before their keypoints are known.

    Attributes:
        content: ``(B, N, D)``, best first.
        boxes: ``(B, N, 4)`` ``cxcywh`` in [0, 1].
        chosen: ``(B, N)`` which of the proposals each is.
    """

    content: Tensor
    boxes: Tensor
    chosen: Tensor

    def of_image(self, index: int) -> Persons:
        """Return those of one image, still as a batch."""
        return Persons(*(rows[index : index + 1] for rows in (self.content, self.boxes, self.chosen)))


class ClickPose(FeedbackLoop):
    """End-to-end interactive keypoint detection (Yang et al., ICCV 2023)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.backbone = Backbone(config.backbone, config.backbone_padding)
        self.projection = FeatureProjection(config)
        self.encoder = Encoder(config)
        self.proposal_head = ProposalHead(config)
        self.add_loop(Decoder(config))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as published."""
        for part in (self.projection, self.encoder, self.proposal_head):
            xavier_matrices(part)
        self.reset_decoder()
        for projection in self.projection.projections:
            nn.init.zeros_(projection.get_parameter("0.bias"))
        nn.init.constant_(self.proposal_head.class_head.bias, -math.log(99))
        nn.init.zeros_(self.proposal_head.box_head.layers[-1].weight)
        nn.init.zeros_(self.proposal_head.box_head.layers[-1].bias)

    def encode(self, images: Tensor, padding: Tensor | None = None) -> Tokens:
        """Encode normalised images ``(B, 3, H, W)``, zero where ``padding (B, H, W)`` is True."""
        return self.encoder(self.projection(self.backbone(images)), padding)  # type: ignore[no-any-return]

    def propose(self, memory: Tokens) -> Proposals:
        """Select the most person-like tokens."""
        return self.proposal_head(memory)  # type: ignore[no-any-return]

    def find_persons(self, memory: Tokens) -> Persons:
        """Decode proposals to the ``num_persons`` most likely persons."""
        proposals = self.propose(memory)
        x, boxes, _ = self.decoder.decode_persons(
            proposals.content.detach(), proposals.boxes.detach(), self.decoder.person_values(memory)
        )
        chosen = self.decoder.select_persons(x)
        return Persons(take(x, chosen), take(boxes, chosen), chosen)

    def estimate_poses(self, persons: Persons, values: LayerValues) -> LayerOutput:
        """Estimate the keypoints of persons found."""
        content, references = self.decoder.start_poses(persons.content, persons.boxes)
        return self.decoder.decode_poses(content, references, values)[-1]


def extend_to_clicks(boxes: Tensor, keypoints: Tensor, touched: Tensor) -> Tensor:
    """Extend the boxes ``(B, N, 4)`` of touched persons ``(B, N)`` to contain all their keypoints.

    An edge that a keypoint moves passes no gradient on; an edge that stays does.
    """
    return torch.where(touched[..., None], extend_to_keypoints(boxes, keypoints.detach()), boxes)
