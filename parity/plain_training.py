"""Training in its plain form, for comparison: the published arithmetic, as papers write it.

Sampling by ``grid_sample``, attention weights written out under a mask over all persons, box heads on every token,
values projected again in each round of the loop, batch norms as a product and a sum, an optimiser and a moving average
that process the weights one by one. The numbers are those of ``clickpose.training``, up to rounding.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from clickpose.model import ClickPose
from clickpose.model.attention import DeformableAttention
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.model.encoder import Tokens
from clickpose.model.proposals import ProposalHead, Proposals, proposal_anchors, take
from clickpose.model.sampling import LevelShapes
from clickpose.rewriting import Rewrites, rewrite, take_over
from clickpose.skeleton import Skeleton
from clickpose.training.config import TrainConfig
from clickpose.training.state import TrainingStep, TrainState, build_optimizer
from parity.plain import PlainDecoder


def build_plain_state(model: ClickPose, skeleton: Skeleton, config: TrainConfig) -> TrainState:
    """Prepare a model for training as ``clickpose.training.state.build_state`` does, in the plain form."""
    average = copy.deepcopy(model).eval().requires_grad_(False)
    model = make_plain(model)
    optimizer = build_optimizer(model, config)
    for group in optimizer.param_groups:
        group |= {"foreach": False, "fused": False}
    return TrainState(TrainingStep(model, skeleton, config), average, optimizer)


def make_plain(model: ClickPose) -> ClickPose:
    """Return a model with the same weights whose parts all compute in their plain form; ``model`` is used up."""
    model.to(memory_format=torch.contiguous_format)
    rewrite(model, PLAIN)
    model.decoder = PlainDecoder(model.decoder)
    return PlainClickPose(model)


class PlainClickPose(ClickPose):
    """Keeps the image's tokens, and projects them for every round of the loop."""

    def __init__(self, model: ClickPose) -> None:
        take_over(self, model)

    def encode(self, images: Tensor, padding: Tensor | None = None) -> Tokens:
        self.memory = super().encode(images, padding)
        return self.memory

    def refine(
        self, boxes: Tensor, keypoints: Tensor, values: LayerValues, free: Tensor | None = None
    ) -> list[LayerOutput]:
        return super().refine(boxes, keypoints, self.decoder.pose_values(self.memory), free)


class PlainProposalHead(ProposalHead):
    """Regresses a box for every token, and chooses afterwards."""

    def __init__(self, head: ProposalHead) -> None:
        take_over(self, head)

    def forward(self, memory: Tokens) -> Proposals:
        refined_from = memory.first_token(self.first_level)
        anchors, usable = (t[:, refined_from:] for t in proposal_anchors(memory))
        content = self.norm(self.output(memory.content[:, refined_from:] * usable[..., None]))
        logits, boxes = self.class_head(content), self.box_head(content) + anchors
        chosen = logits.amax(-1).topk(min(self.num_queries, logits.shape[1]), 1).indices
        chosen_boxes = take(boxes, chosen).sigmoid()
        return Proposals(take(content, chosen), take(logits, chosen), chosen_boxes, chosen + refined_from)


class PlainDeformableAttention(DeformableAttention):
    """Places every offset by itself."""

    def __init__(self, attention: DeformableAttention) -> None:
        take_over(self, attention)

    def _locate(self, offsets: Tensor, references: Tensor, shapes: LevelShapes) -> Tensor:
        """Place offsets in cells around points, in fractions of half a side around boxes."""
        if references.shape[-1] == 2:
            cells_wh = offsets.new_tensor([[w, h] for h, w in shapes])
            return references + offsets / cells_wh[:, None]
        return references[..., :2] + offsets / self.num_points * references[..., 2:] * 0.5


class PlainAttention(nn.MultiheadAttention):
    """Writes out the attention of every query to every other."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        take_over(self, attention)

    def forward(self, *inputs: Any, need_weights: bool = True, **more: Any) -> Any:
        return super().forward(*inputs, need_weights=True, **more)  # type: ignore[misc]


PLAIN: Rewrites = {
    ProposalHead: PlainProposalHead,
    DeformableAttention: PlainDeformableAttention,
    nn.MultiheadAttention: PlainAttention,
}
