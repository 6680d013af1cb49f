"""The whole model: encode a picture, find persons, estimate poses, refine them by clicks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.boxes import extend_to_keypoints
from clickpose.model.attention import DeformableAttention
from clickpose.model.backbone import Backbone
from clickpose.model.config import ModelConfig
from clickpose.model.decoder import Decoder, LayerOutput, LayerValues
from clickpose.model.encoder import Encoder, FeatureProjection, Tokens
from clickpose.model.positions import inverse_sigmoid
from clickpose.model.proposals import ProposalHead, Proposals, take

NUM_LABELS = 100  # rows of the label embedding that noise may draw; one more means "no person"
PERSON_LABEL = 1


@dataclass(frozen=True)
class Persons:
    """Persons found in a picture, before their keypoints are known.

    Attributes:
        content: ``(B, N, D)``, best first.
        boxes: ``(B, N, 4)`` ``cxcywh`` in [0, 1].
        chosen: ``(B, N)`` which of the proposals each is.
    """

    content: Tensor
    boxes: Tensor
    chosen: Tensor


class ClickPose(nn.Module):
    """End-to-end interactive keypoint detection (Yang et al., ICCV 2023)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone)
        self.projection = FeatureProjection(config)
        self.encoder = Encoder(config)
        self.proposal_head = ProposalHead(config)
        self.decoder = Decoder(config)
        self.person_label = nn.Embedding(NUM_LABELS + 1, config.width)
        self.keypoint_label = nn.Embedding(config.num_keypoints + 1, config.width)  # keypoint k is row k + 1
        self.held_mark = nn.Parameter(torch.randn(config.width) / 2) if config.mark_held else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as published: Xavier matrices, no first step for any head, persons are rare."""
        for part in (self.projection, self.encoder, self.proposal_head, self.decoder):
            for name, parameter in part.named_parameters():
                if parameter.dim() > 1 and "level_embed" not in name:
                    nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.reset_parameters()
        for projection in self.projection.projections:
            nn.init.zeros_(projection.get_parameter("0.bias"))
        for head in (self.proposal_head.class_head, *self.decoder.class_heads):
            nn.init.constant_(head.bias, -math.log(99))
        decoder = self.decoder
        for mlp in (
            self.proposal_head.box_head,
            decoder.initial_pose_head,
            *decoder.box_heads,
            *decoder.pose_heads,
        ):
            nn.init.zeros_(mlp.layers[-1].weight)
            nn.init.zeros_(mlp.layers[-1].bias)
        for linear in decoder.keypoint_size_head.layers:
            linear.reset_parameters()

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

    def refine(
        self, boxes: Tensor, keypoints: Tensor, values: LayerValues, free: Tensor | None = None
    ) -> list[LayerOutput]:
        """Run one round of the feedback loop (section 8 of the method, steps 4 and 5).

        Args:
            boxes: ``(B, N, 4)`` current boxes; extend them to clicked keypoints first (``extend_to_clicks``).
            keypoints: ``(B, N, K, 2)`` current keypoints, clicked ones at their click.
            values: from ``decoder.pose_values``.
            free: ``(B, N, K)`` 0 where a keypoint is held.

        Returns:
            Each pose layer's output; the last is the answer. A held keypoint comes back where it was, up to the
            clamping of the inverse sigmoid to [0.001, 0.999].
        """
        references = self.decoder.person_references(boxes, keypoints)
        references = torch.cat((inverse_sigmoid(boxes).sigmoid()[:, :, None], references[:, :, 1:]), 2)
        num_keypoints = self.config.num_keypoints
        content = torch.cat(
            (self.person_label.weight[PERSON_LABEL, None], self.keypoint_label.weight[1 : num_keypoints + 1])
        )
        content = content.expand(*boxes.shape[:2], -1, -1)
        if self.held_mark is not None and free is not None:
            content = content + F.pad(1 - free, (1, 0))[..., None] * self.held_mark  # the person's token wears none
        return self.decoder.decode_poses(content, references, values, free=free)


def extend_to_clicks(boxes: Tensor, keypoints: Tensor, touched: Tensor) -> Tensor:
    """Extend the boxes ``(B, N, 4)`` of touched persons ``(B, N)`` to contain all their keypoints.

    An edge that a keypoint moves passes no gradient on; an edge that stays does.
    """
    return torch.where(touched[..., None], extend_to_keypoints(boxes, keypoints.detach()), boxes)
