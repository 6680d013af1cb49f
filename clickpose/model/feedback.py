"""The feedback loop (section 3.3 of the paper): the pose layers again, from poses that a human has corrected."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.model.attention import DeformableAttention
from clickpose.model.config import ModelConfig
from clickpose.model.decoder import Decoder, LayerOutput, LayerValues
from clickpose.model.positions import inverse_sigmoid

NUM_LABELS = 100  # rows of the label embedding that noise may draw; one more means "no person"
PERSON_LABEL = 1


class FeedbackLoop(nn.Module):
    """The part that both forms of the method share: a decoder, and the learned content of tokens that re-enter it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config

    def add_loop(self, decoder: Decoder) -> None:
        """Register the decoder and the embeddings of the loop."""
        config = self.config
        self.decoder = decoder
        self.person_label = nn.Embedding(NUM_LABELS + 1, config.width)
        self.keypoint_label = nn.Embedding(config.num_keypoints + 1, config.width)  # keypoint k is row k + 1
        self.held_mark = nn.Parameter(torch.randn(config.width) / 2) if config.mark_held else None

    def reset_decoder(self) -> None:
        """Initialise the decoder as published: Xavier matrices, no first step for any head, persons are rare."""
        decoder = self.decoder
        xavier_matrices(decoder)
        for head in decoder.class_heads:
            nn.init.constant_(head.get_parameter("bias"), -math.log(99))
        for mlp in (decoder.initial_pose_head, *decoder.box_heads, *decoder.pose_heads):
            nn.init.zeros_(mlp.layers[-1].weight)
            nn.init.zeros_(mlp.layers[-1].bias)
        for linear in decoder.keypoint_size_head.layers:
            linear.reset_parameters()

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
            content = content + F.pad(1 - free, (1, 0))[..., None] * self.held_mark  # the person's token has none
        return self.decoder.decode_poses(content, references, values, free=free)


def xavier_matrices(part: nn.Module) -> None:
    """Initialise all matrices but level embeddings by Xavier's rule, deformable attention by its own."""
    for name, parameter in part.named_parameters():
        if parameter.dim() > 1 and "level_embed" not in name:
            nn.init.xavier_uniform_(parameter)
    for module in part.modules():
        if isinstance(module, DeformableAttention):
            module.reset_parameters()
