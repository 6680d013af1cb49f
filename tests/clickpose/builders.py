"""What most tests of the method need and none is about: a small model, persons, predictions."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from clickpose.annotations import PersonAnnotation
from clickpose.model import ClickPose, ModelConfig, tiny
from clickpose.model.decoder import Decoder, LayerOutput
from clickpose.model.decoder_layer import Attend
from clickpose.rewriting import take_over
from clickpose.skeleton import Skeleton
from clickpose.training.decoder import attend_masked
from clickpose.training.targets import Target

NUM_KEYPOINTS = 14
SKELETON = Skeleton.load("crowdpose14")
SIGMAS = torch.from_numpy(SKELETON.sigma_array)
MIRROR = torch.from_numpy(SKELETON.flip_permutation)


def build_model(config: ModelConfig | None = None, **changes: object) -> ClickPose:
    """A tiny model whose heads move things, which those of a new model do not."""
    model = copy.deepcopy(_model_of(replace(config or tiny(), **changes)))  # type: ignore[arg-type]
    torch.manual_seed(0)  # for what a test draws
    return model


@functools.cache
def _model_of(config: ModelConfig) -> ClickPose:
    torch.manual_seed(0)
    model = ClickPose(config).eval()
    decoder = model.decoder
    for mlp in (model.proposal_head.box_head, decoder.initial_pose_head, *decoder.box_heads, *decoder.pose_heads):
        torch.nn.init.normal_(mlp.layers[-1].weight, std=0.3)
    for attention in (*(x.attention for x in model.encoder.layers), *(x.cross_attention for x in decoder.layers)):
        torch.nn.init.normal_(attention.sampling_offsets.weight, std=0.2)
        torch.nn.init.normal_(attention.attention_weights.weight, std=0.2)
    for head in (model.proposal_head.class_head, *decoder.class_heads):
        torch.nn.init.normal_(head.weight, std=0.5)
    return model


def build_images(count: int = 2, size_hw: tuple[int, int] = (64, 96), seed: int = 0) -> Tensor:
    return torch.randn(count, 3, *size_hw, generator=seeded(seed))


def build_target(count: int = 3, seed: int = 0, num_keypoints: int = NUM_KEYPOINTS) -> Target:
    """Persons all over the image, about a quarter of their keypoints without label."""
    generator = seeded(seed)
    sizes = 0.2 + 0.3 * torch.rand(count, 2, generator=generator)
    centres = 0.3 + 0.4 * torch.rand(count, 2, generator=generator)
    spread = torch.rand(count, num_keypoints, 2, generator=generator) - 0.5
    labelled = (torch.rand(count, num_keypoints, generator=generator) < 0.75).float()
    labelled[:, 0] = 1
    keypoints = (centres[:, None] + spread * sizes[:, None]) * labelled[..., None]
    return Target(torch.cat((centres, sizes), -1), keypoints, labelled, sizes.prod(-1) / 2)


def build_output(
    images: int = 2, persons: int = 5, seed: int = 0, *, num_keypoints: int | None = NUM_KEYPOINTS
) -> LayerOutput:
    """A layer's answer at random; without keypoints if there are None."""
    generator = seeded(seed)
    logits = torch.randn(images, persons, 2, generator=generator)
    boxes = 0.2 + 0.4 * torch.rand(images, persons, 4, generator=generator)
    keypoints = None
    if num_keypoints is not None:
        keypoints = torch.rand(images, persons, num_keypoints, 2, generator=generator)
    return LayerOutput(logits, boxes, keypoints)


def perfect_output(targets: Sequence[Target]) -> LayerOutput:
    """The truth as an answer, for images with equally many persons."""
    logits = torch.tensor([-20.0, 20.0]).expand(len(targets), len(targets[0]), 2)
    return LayerOutput(logits, torch.stack([t.boxes for t in targets]), torch.stack([t.keypoints for t in targets]))


def build_person(
    keypoints_px: Sequence[tuple[float, float]], *, id: int = 1, visibility: Sequence[int] | None = None, **changes
) -> PersonAnnotation:
    """A person whose box is that around its keypoints."""
    points = np.array(keypoints_px, np.float32)
    box_px = np.concatenate((points.min(0), points.max(0)))
    shown = np.full(len(points), 2) if visibility is None else np.array(visibility)
    return replace(
        PersonAnnotation(id, points, shown, box_px, area_px=float(np.prod(np.ptp(points, axis=0)))), **changes
    )


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class MaskedDecoder(Decoder):
    """A decoder whose pose layers attend where ``mask (B, N * G, N * G)`` is False."""

    def __init__(self, decoder: Decoder, mask: Tensor) -> None:
        take_over(self, decoder)
        self.mask = mask

    def pose_attention(self, group: int) -> Attend:
        return partial(attend_masked, mask=self.mask)
