"""The plain form, for comparison: the published arithmetic in the published order, on the weights of any model.

Frozen norms as a product and a sum, channels first, sampling by ``grid_sample``, a box for every token, persons kept
apart by a mask over all of them, every layer read out. A round of the loop runs twenty persons, keeps nothing from
round to round and moves clicked keypoints again (``hold="none"``).
"""

from __future__ import annotations

import copy
from functools import partial

import torch
from torch import Tensor, nn

from clickpose.model import ClickPose
from clickpose.model.decoder import Decoder, LayerOutput
from clickpose.model.decoder_layer import Attend
from clickpose.model.encoder import Tokens
from clickpose.model.positions import inverse_sigmoid
from clickpose.model.proposals import proposal_anchors, take
from clickpose.rewriting import take_over
from clickpose.training.decoder import attend_masked

PERSONS_PER_ROUND = 20


class PlainDecoder(Decoder):
    """Keeps persons apart by a mask over all tokens."""

    def __init__(self, decoder: Decoder) -> None:
        take_over(self, decoder)

    def pose_attention(self, group: int) -> Attend:
        return partial(attend_apart, group=group)


def attend_apart(attention: nn.Module, query: Tensor, value: Tensor, *, group: int) -> Tensor:
    person = torch.arange(query.shape[1], device=query.device) // group
    apart = (person[:, None] != person).expand(len(query), -1, -1)
    return attend_masked(attention, query, value, apart)


class PlainForm:
    """Full inference and a round of the loop as published."""

    def __init__(self, model: ClickPose) -> None:
        self.model = copy.deepcopy(model).eval()
        self.model.backbone.to(memory_format=torch.contiguous_format)
        self.model.decoder = PlainDecoder(self.model.decoder)

    @torch.inference_mode()
    def full(self, images: Tensor) -> tuple[Tokens, LayerOutput]:
        """Find persons and their poses in ``(B, 3, H, W)``."""
        memory, decoder = self.model.encode(images), self.model.decoder
        x, boxes, _ = decoder.decode_persons(*self._propose(memory), decoder.person_values(memory))
        chosen = decoder.select_persons(x)
        content, references = decoder.start_poses(take(x, chosen), take(boxes, chosen))
        return memory, self._decode(content, references, memory)[-1]

    @torch.inference_mode()
    def loop_round(self, memory: Tokens, boxes: Tensor, keypoints: Tensor) -> LayerOutput:
        """Refine boxes ``(B, 20, 4)`` and keypoints ``(B, 20, K, 2)``."""
        model = self.model
        references = model.decoder.person_references(boxes, keypoints)
        references = torch.cat((inverse_sigmoid(boxes).sigmoid()[:, :, None], references[:, :, 1:]), 2)
        labels = model.keypoint_label.weight[1 : model.config.num_keypoints + 1]
        content = torch.cat((model.person_label.weight[1, None], labels)).expand(*boxes.shape[:2], -1, -1)
        return self._decode(content, references, memory)[-1]

    def _propose(self, memory: Tokens) -> tuple[Tensor, Tensor]:
        head = self.model.proposal_head
        anchors, usable = proposal_anchors(memory)
        content = head.norm(head.output(memory.content * usable[..., None]))
        boxes = head.box_head(content) + anchors
        chosen = head.class_head(content).amax(-1).topk(head.num_queries, 1).indices
        return take(content, chosen), take(boxes, chosen).sigmoid()

    def _decode(self, content: Tensor, references: Tensor, memory: Tokens) -> list[LayerOutput]:
        decoder = self.model.decoder
        return decoder.decode_poses(content, references, decoder.pose_values(memory))
