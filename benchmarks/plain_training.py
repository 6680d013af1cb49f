"""Training in its plain form, for comparison: the published arithmetic, in the words in which papers write it.

Sampling by ``grid_sample``, attention weights written out under a mask over all persons, box heads on every token,
values projected anew in each round of the loop, batch norms as a product and a sum, an optimiser and a moving average
that go through the weights one by one. The numbers are those of ``clickpose.training``, up to rounding.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from clickpose.model import ClickPose
from clickpose.model.attention import DeformableAttention
from clickpose.model.decoder import DecoderLayer, LayerOutput, LayerValues
from clickpose.model.encoder import Tokens
from clickpose.model.proposals import ProposalHead, Proposals, proposal_anchors, take
from clickpose.model.sampling import LevelShapes, sample_by_grid
from clickpose.skeleton import Skeleton
from clickpose.training.config import TrainConfig
from clickpose.training.state import TrainingStep, TrainState, build_optimizer


def build_plain_state(model: ClickPose, skeleton: Skeleton, config: TrainConfig) -> TrainState:
    """Put a model under training as ``clickpose.training.state.build_state`` does, but plainly."""
    average = copy.deepcopy(model).eval().requires_grad_(False)
    make_plain(model)
    optimizer = build_optimizer(model, config)
    for group in optimizer.param_groups:
        group |= {"foreach": False, "fused": False}
    return TrainState(TrainingStep(model, skeleton, config), average, optimizer)


def make_plain(model: ClickPose) -> ClickPose:
    """Let every part of a model compute in its plain form; weights and their names stay."""
    model.to(memory_format=torch.contiguous_format)
    for part in model.modules():
        part.__class__ = PLAIN.get(type(part), type(part))
    return model


class PlainClickPose(ClickPose):
    """Keeps the picture's tokens, and projects them for every round of the loop."""

    def encode(self, images: Tensor, padding: Tensor | None = None) -> Tokens:
        self.memory = super().encode(images, padding)
        return self.memory

    def refine(
        self, boxes: Tensor, keypoints: Tensor, values: LayerValues, free: Tensor | None = None
    ) -> list[LayerOutput]:
        return super().refine(boxes, keypoints, self.decoder.pose_values(self.memory), free)


class PlainProposalHead(ProposalHead):
    """Regresses a box for every token, and chooses afterwards."""

    def forward(self, memory: Tokens) -> Proposals:
        refined_from = memory.first_token(self.first_level)
        anchors, usable = (t[:, refined_from:] for t in proposal_anchors(memory))
        content = self.norm(self.output(memory.content[:, refined_from:] * usable[..., None]))
        logits, boxes = self.class_head(content), self.box_head(content) + anchors
        chosen = logits.amax(-1).topk(min(self.num_queries, logits.shape[1]), 1).indices
        chosen_boxes = take(boxes, chosen).sigmoid()
        return Proposals(take(content, chosen), take(logits, chosen), chosen_boxes, chosen + refined_from)


class PlainDeformableAttention(DeformableAttention):
    """Samples by ``grid_sample``."""

    def forward(self, queries: Tensor, references: Tensor, values: Tensor, shapes: LevelShapes) -> Tensor:
        places = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(queries).unflatten(-1, (*places, 2))
        weights = self.attention_weights(queries).unflatten(-1, (self.num_heads, -1)).softmax(-1)
        locations = self._locate(offsets, references[:, :, None, :, None], shapes)
        sampled = sample_by_grid(values, shapes, locations, weights.unflatten(-1, places[1:]))
        return self.output_proj(sampled)  # type: ignore[no-any-return]

    def _locate(self, offsets: Tensor, references: Tensor, shapes: LevelShapes) -> Tensor:
        """Place offsets in cells around points, in fractions of half a side around boxes."""
        if references.shape[-1] == 2:
            cells_wh = offsets.new_tensor([[w, h] for h, w in shapes])
            return references + offsets / cells_wh[:, None]
        return references[..., :2] + offsets / self.num_points * references[..., 2:] * 0.5


class PlainDecoderLayer(DecoderLayer):
    """Writes out how much every query looks at every other; a mask keeps persons apart."""

    def _attend_to_queries(
        self, x: Tensor, positions: Tensor, group: int | None, num_noised: int, mask: Tensor | None
    ) -> Tensor:
        if group is not None:
            person = torch.arange(x.shape[1], device=x.device) // group
            noised = person < num_noised
            mask = (person[:, None] != person) & ~(noised[:, None] & ~noised)
            mask = mask.expand(len(x), -1, -1)
        if mask is not None:
            mask = mask.repeat_interleave(self.self_attention.num_heads, 0)
        query = x + positions
        attended, _ = self.self_attention(query, query, x, attn_mask=mask, need_weights=True)
        return attended  # type: ignore[no-any-return]


PLAIN = {
    ClickPose: PlainClickPose,
    ProposalHead: PlainProposalHead,
    DeformableAttention: PlainDeformableAttention,
    DecoderLayer: PlainDecoderLayer,
}
