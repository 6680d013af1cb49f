"""Two-stage proposals: each refined token may be a person, the best become queries (section 4 of the method)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clickpose.model.config import ModelConfig
from clickpose.model.encoder import Tokens
from clickpose.model.layers import MLP

NUM_CLASSES = 2  # channel 1 is the person, channel 0 is never a positive
PERSON_CLASS = NUM_CLASSES - 1
BASE_SIZE = 0.05  # side of a proposal on the finest level, doubled on each next


@dataclass(frozen=True)
class Proposals:
    """The ``num_queries`` most person-like tokens, best first.

    Attributes:
        content: ``(B, Q, D)``; detach before decoding.
        logits: ``(B, Q, 2)``.
        boxes: ``(B, Q, 4)`` ``cxcywh`` in [0, 1]; detach before decoding.
        tokens: ``(B, Q)`` which token each came from.
    """

    content: Tensor
    logits: Tensor
    boxes: Tensor
    tokens: Tensor


class ProposalHead(nn.Module):
    """Classifies every refined token and regresses boxes for the best."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_queries = config.num_queries
        self.first_level = config.encoder_first_level
        self.output = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.class_head = nn.Linear(config.width, NUM_CLASSES)
        self.box_head = MLP(config.width, config.width, 4, 3)

    def forward(self, memory: Tokens) -> Proposals:
        """Select proposals; an image with fewer tokens than ``num_queries`` gives all of them."""
        refined_from = memory.first_token(self.first_level)
        anchors, usable = proposal_anchors(memory)
        anchors, usable = anchors[:, refined_from:], usable[:, refined_from:]
        content = self.norm(self.output(memory.content[:, refined_from:] * usable[..., None]))
        logits = self.class_head(content)

        chosen = logits.amax(-1).topk(min(self.num_queries, logits.shape[1]), 1).indices
        content = take(content, chosen)
        boxes = (self.box_head(content) + take(anchors, chosen)).sigmoid()
        return Proposals(content, self.class_head(content), boxes, chosen + refined_from)


def proposal_anchors(memory: Tokens) -> tuple[Tensor, Tensor]:
    """Return box logits ``(B, S, 4)`` centred on each token, +inf where ``usable (B, S)`` is False."""
    anchors = []
    for level, centres in enumerate(memory.cell_centres()):
        centre = centres / memory.valid_wh[:, level, None]
        anchors.append(torch.cat((centre, torch.full_like(centre, BASE_SIZE * 2**level)), -1))
    boxes = torch.cat(anchors, 1)
    usable = ((boxes > 0.01) & (boxes < 0.99)).all(-1)
    if memory.padding is not None:
        usable = usable & ~memory.padding
    return torch.log(boxes / (1 - boxes)).masked_fill(~usable[..., None], float("inf")), usable


def take(x: Tensor, indices: Tensor) -> Tensor:
    """Select rows ``indices (B, M)`` of ``x (B, N, C)``; ``(B, M, C)``."""
    return x.gather(1, indices[..., None].expand(-1, -1, x.shape[-1]))
