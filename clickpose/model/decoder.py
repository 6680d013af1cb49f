"""The two decoders: persons as boxes, then persons with their keypoints, which the feedback loop runs again.

A person is a group of G = K + 1 tokens: the person itself, then its keypoints. Groups never look at each other,
so a group's answer does not depend on which other persons are decoded with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from clickpose.model.config import ModelConfig
from clickpose.model.decoder_layer import Attend, DecoderLayer, attend_to_all, attend_within_groups
from clickpose.model.encoder import Tokens
from clickpose.model.layers import MLP
from clickpose.model.positions import box_encoding, inverse_sigmoid
from clickpose.model.proposals import NUM_CLASSES
from clickpose.model.sampling import LevelShapes


@dataclass(frozen=True)
class LayerOutput:
    """The output of one decoder layer for N persons.

    Attributes:
        logits: ``(B, N, 2)``.
        boxes: ``(B, N, 4)`` ``cxcywh`` in [0, 1].
        keypoints: ``(B, N, K, 2)`` x, y in [0, 1]; None from layers that see boxes only.
        tokens: ``(B, N, G, D)`` a pose layer's tokens behind both, for further read-outs; None from other layers.
    """

    logits: Tensor
    boxes: Tensor
    keypoints: Tensor | None
    tokens: Tensor | None = None


@dataclass(frozen=True)
class LayerValues:
    """Memory as one decoder layer or several see it: independent of any query, hence computed once per image.

    Attributes:
        values: per layer ``(B, S, H, D/H)``.
        shapes: (h, w) of each level.
        valid_ratios: ``(B, L, 2)``.
    """

    values: tuple[Tensor, ...]
    shapes: LevelShapes
    valid_ratios: Tensor

    def kept_as(self, dtype: torch.dtype) -> LayerValues:
        """Return the same with the values in another precision."""
        return LayerValues(tuple(value.to(dtype) for value in self.values), self.shapes, self.valid_ratios)

    def of_image(self, index: int) -> LayerValues:
        """Return those of one image, still as a batch, in memory of their own."""
        if len(self.valid_ratios) == 1:
            return self
        values = tuple(value[index : index + 1].clone() for value in self.values)
        return LayerValues(values, self.shapes, self.valid_ratios[index : index + 1].clone())


class Decoder(nn.Module):
    """All decoder layers with their heads; layer i owns box head i, class head i and, among pose layers, pose head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, num_layers = config.width, config.person_layers + config.pose_layers
        self.layers: Sequence[DecoderLayer] = nn.ModuleList(  # type: ignore[assignment]
            DecoderLayer(config) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.reference_head = MLP(2 * width, width, width, 2)
        self.class_heads = nn.ModuleList(nn.Linear(width, NUM_CLASSES) for _ in range(num_layers))
        self.box_heads = nn.ModuleList(MLP(width, width, 4, 3) for _ in range(num_layers))
        self.pose_heads = nn.ModuleList(MLP(width, width, 2, 3) for _ in range(config.pose_layers))
        self.initial_pose_head = MLP(width, width, 2, 3)
        self.keypoint_size_head = MLP(width, width, 2, 3)
        self.keypoint_content = nn.Embedding(config.num_persons * config.num_keypoints, width)
        self.keypoint_size = nn.Embedding(config.num_keypoints, 2)

    # -- values: the image as a layer sees it

    def person_values(self, memory: Tokens) -> LayerValues:
        """Project memory for the person layers."""
        return self._values(memory, range(self.config.person_layers))

    def pose_values(self, memory: Tokens) -> LayerValues:
        """Project memory for the pose layers; a refine needs nothing else of an image."""
        return self._values(memory, range(self.config.person_layers, len(self.layers)))

    def _values(self, memory: Tokens, layers: range) -> LayerValues:
        values = tuple(self.layers[i].cross_attention.project_values(memory.content, memory.padding) for i in layers)
        return LayerValues(values, memory.shapes, memory.valid_ratios)

    # -- persons

    def decode_persons(self, x: Tensor, boxes: Tensor, values: LayerValues) -> tuple[Tensor, Tensor, list[LayerOutput]]:
        """Refine boxes of persons, every query seeing every other.

        Args:
            x: ``(B, Q, D)`` content.
            boxes: ``(B, Q, 4)`` in [0, 1].
            values: from ``person_values``.

        Returns:
            Raw content of the last layer, its boxes with gradient, and each layer's output.
        """
        outputs, attached = [], boxes
        for i, value in enumerate(values.values):
            x = self._run_layer(i, x, boxes, value, values, self.person_attention())
            normed = self.norm(x)
            outputs.append(LayerOutput(self.class_heads[i](normed), self._move_boxes(i, normed, attached), None))
            attached = self._move_boxes(i, x, boxes)  # look forward twice: the next output trains this head too
            boxes = attached.detach()
        return x, attached, outputs

    def select_persons(self, x: Tensor) -> Tensor:
        """Return indices ``(B, N)`` of the most person-like raw contents ``(B, Q, D)``, best first."""
        logits = self.class_heads[self.config.person_layers - 1](x)
        return logits.amax(-1).topk(min(self.config.num_persons, x.shape[1]), 1).indices  # type: ignore[no-any-return]

    def start_poses(self, content: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Give persons their keypoint tokens: learned contents and places, by slot and joint.

        Args:
            content: ``(B, N, D)`` of the persons, best first.
            boxes: ``(B, N, 4)``.

        Returns:
            Content ``(B, N, G, D)`` and references ``(B, N, G, 4)``.
        """
        num_keypoints = self.config.num_keypoints
        keypoint_content = self.keypoint_content.weight.unflatten(0, (-1, num_keypoints))[: content.shape[1]]
        keypoint_content = keypoint_content.expand(content.shape[0], -1, -1, -1)
        offset = self.initial_pose_head(keypoint_content)
        keypoints = (inverse_sigmoid(boxes[:, :, None, :2]) + offset).sigmoid()
        return torch.cat((content[:, :, None], keypoint_content), 2), self.person_references(boxes, keypoints)

    def person_references(self, boxes: Tensor, keypoints: Tensor) -> Tensor:
        """Boxes ``(B, N, 4)`` and points ``(B, N, K, 2)`` to the references ``(B, N, G, 4)`` of their tokens."""
        sizes = boxes[:, :, None, 2:] * self.keypoint_size.weight.sigmoid()
        return torch.cat((boxes[:, :, None], torch.cat((keypoints, sizes), -1)), 2)

    # -- poses

    def decode_poses(
        self, content: Tensor, references: Tensor, values: LayerValues, *, free: Tensor | None = None
    ) -> list[LayerOutput]:
        """Refine persons and keypoints together, each person on its own.

        Args:
            content: ``(B, N, G, D)``.
            references: ``(B, N, G, 4)`` in [0, 1].
            values: from ``pose_values``.
            free: ``(B, N, K)`` 1 where a keypoint may move, 0 where it is held; None frees all.

        Returns:
            Each pose layer's output.
        """
        persons, group = references.shape[1:3]
        attend = self.pose_attention(group)
        freedom = 1.0 if free is None else free[..., None]
        x, attached, outputs = content.flatten(1, 2), references, []
        for i, value in enumerate(values.values, start=self.config.person_layers):
            x = self._run_layer(i, x, references.flatten(1, 2), value, values, attend)
            normed, raw = self.norm(x).unflatten(1, (persons, group)), x.unflatten(1, (persons, group))
            outputs.append(self._read_out(i, normed, attached, freedom))
            if len(outputs) < len(values.values):  # nothing refers to those of the last layer
                attached = self._move_references(i, raw, references, freedom)
                references = attached.detach()
        return outputs

    # -- one layer

    def person_attention(self) -> Attend:
        """Return how person queries see each other: all see all."""
        return attend_to_all

    def pose_attention(self, group: int) -> Attend:
        """Return how tokens of persons see each other: within a person, a group of G."""
        return partial(attend_within_groups, group=group)

    def _read_out(self, i: int, normed: Tensor, references: Tensor, freedom: Tensor | float) -> LayerOutput:
        person, keypoints = normed[:, :, 0], normed[:, :, 1:]
        return LayerOutput(
            self.class_heads[i](person),
            self._move_boxes(i, person, references[:, :, 0]),
            self._move_keypoints(i, keypoints, references[:, :, 1:, :2], freedom),
            normed,
        )

    def _move_references(self, i: int, raw: Tensor, references: Tensor, freedom: Tensor | float) -> Tensor:
        person, keypoints = raw[:, :, 0], raw[:, :, 1:]
        boxes = self._move_boxes(i, person, references[:, :, 0])
        points = self._move_keypoints(i, keypoints, references[:, :, 1:, :2], freedom)
        sizes = (self.keypoint_size_head(keypoints) + inverse_sigmoid(references[:, :, 1:, 2:])).sigmoid()
        return torch.cat((boxes[:, :, None], torch.cat((points, sizes), -1)), 2)

    def _move_boxes(self, i: int, x: Tensor, boxes: Tensor) -> Tensor:
        return (self.box_heads[i](x) + inverse_sigmoid(boxes)).sigmoid()  # type: ignore[no-any-return]

    def _move_keypoints(self, i: int, x: Tensor, points: Tensor, freedom: Tensor | float) -> Tensor:
        step = self.pose_heads[i - self.config.person_layers](x) * freedom
        return (step + inverse_sigmoid(points)).sigmoid()  # type: ignore[no-any-return]

    def _run_layer(
        self, i: int, x: Tensor, boxes: Tensor, value: Tensor, values: LayerValues, attend: Attend
    ) -> Tensor:
        ratios = values.valid_ratios
        references = boxes[:, :, None] * torch.cat((ratios, ratios), -1)[:, None]  # (B, Q, L, 4)
        positions = self.reference_head(box_encoding(references[:, :, 0], x.shape[-1]))
        return self.layers[i](x, positions, references, value, values.shapes, attend)  # type: ignore[no-any-return]
