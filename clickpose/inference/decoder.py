"""The decoders without the outputs that only training uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from clickpose.model.decoder import Decoder, LayerOutput, LayerValues
from clickpose.model.decoder_layer import Attend
from clickpose.model.positions import QUERY_TEMPERATURE, inverse_sigmoid
from clickpose.rewriting import take_over


class InferenceDecoder(Decoder):
    """``Decoder`` that reads out only some pose layers, and no person layer at all.

    Args:
        decoder: whose weights are used.
        read: which of the pose layers, counted as Python counts.
    """

    def __init__(self, decoder: Decoder, read: Sequence[int] = (-2, -1)) -> None:
        take_over(self, decoder)
        self.read = {range(self.config.pose_layers)[layer] for layer in read if -layer <= self.config.pose_layers}

    def decode_persons(self, x: Tensor, boxes: Tensor, values: LayerValues) -> tuple[Tensor, Tensor, list[LayerOutput]]:
        """Refine boxes of persons as ``Decoder`` does; the list is empty."""
        for i, value in enumerate(values.values):
            x = self._run_layer(i, x, boxes, value, values, self.person_attention())
            boxes = self._move_boxes(i, x, boxes)
        return x, boxes, []

    def decode_poses(
        self, content: Tensor, references: Tensor, values: LayerValues, *, free: Tensor | None = None
    ) -> list[LayerOutput]:
        """Refine persons and keypoints as ``Decoder`` does; the list has the outputs of the layers in ``read``."""
        people, group = references.shape[1:3]
        attend = self.pose_attention(group)
        freedom = 1.0 if free is None else free[..., None]
        x, outputs, first = content.flatten(1, 2), [], self.config.person_layers
        last = first + len(values.values) - 1
        for i, value in enumerate(values.values, start=first):
            x = self._run_layer(i, x, references.flatten(1, 2), value, values, attend)
            if i - first in self.read:
                outputs.append(self._read_out(i, self.norm(x).unflatten(1, (people, group)), references, freedom))
            if i < last:
                references = self._move_references(i, x.unflatten(1, (people, group)), references, freedom)
        return outputs

    def _move_references(self, i: int, raw: Tensor, references: Tensor, freedom: Tensor | float) -> Tensor:
        """Move boxes, points and sizes in one step."""
        person, keypoints = raw[:, :, :1], raw[:, :, 1:]
        points = self.pose_heads[i - self.config.person_layers](keypoints) * freedom
        step = torch.cat((points, self.keypoint_size_head(keypoints)), -1)
        return (torch.cat((self.box_heads[i](person), step), 2) + inverse_sigmoid(references)).sigmoid()

    def _run_layer(
        self, i: int, x: Tensor, boxes: Tensor, value: Tensor, values: LayerValues, attend: Attend
    ) -> Tensor:
        references = boxes[:, :, None] * values.valid_ratios.repeat(1, 1, 2)[:, None]  # (B, Q, L, 4)
        positions = self.reference_head(_box_encoding(references[:, :, 0], x.shape[-1]))
        return self.layers[i](x, positions, references, value, values.shapes, attend)  # type: ignore[no-any-return]


def _box_encoding(boxes: Tensor, width: int) -> Tensor:
    """Encode boxes as ``clickpose.model.positions.box_encoding`` does, all coordinates at once."""
    order, frequencies = _frequencies(width, boxes.device)
    angles = boxes.index_select(-1, order)[..., None] * frequencies
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-3)


@lru_cache(maxsize=16)
def _frequencies(width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):
        pair = torch.arange(width // 4, dtype=torch.float32, device=device)
        frequencies = 2 * math.pi / QUERY_TEMPERATURE ** (pair * 4 / width)
        return torch.tensor([1, 0, 2, 3], device=device), frequencies
