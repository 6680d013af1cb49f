"""The training forward pass: real and noised queries side by side, then the feedback loop."""

from __future__ import annotations

import torch

from clickpose.model.click_pose import ClickPose
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.model.encoder import Tokens
from clickpose.model.proposals import take
from clickpose.skeleton import Skeleton
from clickpose.training.batches import Batch
from clickpose.training.config import TrainConfig
from clickpose.training.decoder import TrainingDecoder
from clickpose.training.denoising import DenoisingQueries, make_denoising_queries
from clickpose.training.feedback import Clicker, run_feedback
from clickpose.training.output import TrainingOutput


def training_forward(
    model: ClickPose,
    batch: Batch,
    skeleton: Skeleton,
    config: TrainConfig,
    generator: torch.Generator | None = None,
) -> TrainingOutput:
    """Run one training step's forward pass.

    Args:
        model: in training mode.
        batch: on the model's device.
        skeleton: of K keypoints.
        config: noise and annotator.
        generator: random generator; None uses the global one.
    """
    loops = [config.feedback.draw_loop(len(skeleton), generator) for _ in range(config.feedback.repeats)]
    mirror = torch.from_numpy(skeleton.flip_permutation)
    denoising = None
    if config.num_denoised:
        denoising = make_denoising_queries(
            batch.targets,
            config.num_denoised,
            config.denoising,
            mirror,
            keep_clean=config.feedback.probability > 0,
            generator=generator,
        )

    memory = model.encode(batch.images, batch.padding)
    proposals, layers, denoised, values = decode_for_training(model, memory, denoising)
    sigmas = torch.from_numpy(skeleton.sigma_array).to(batch.images.device)
    clicker = Clicker(sigmas, config.feedback, mirror, generator)
    looped: list[LayerOutput] = []
    for clicks in filter(None, loops):
        looped += run_feedback(model, layers[-1], values, batch.targets, clicker, clicks)
    return TrainingOutput(proposals, layers, denoised, denoising, looped)


def decode_for_training(
    model: ClickPose, memory: Tokens, denoising: DenoisingQueries | None
) -> tuple[LayerOutput, list[LayerOutput], list[LayerOutput], LayerValues]:
    """Decode real and noised queries together; return proposals, real outputs, noised outputs and pose values."""
    decoder, values = TrainingDecoder(model.decoder, denoising), model.decoder.pose_values(memory)
    proposals = model.propose(memory)
    x, boxes, count = proposals.content.detach(), proposals.boxes.detach(), 0
    if denoising is not None:
        count = denoising.count
        x = torch.cat((model.person_label(denoising.labels), x), 1)
        boxes = torch.cat((denoising.boxes, boxes), 1)
    x, boxes, person_layers = decoder.decode_persons(x, boxes, decoder.person_values(memory))

    chosen = decoder.select_persons(x[:, count:])
    content, references = decoder.start_poses(take(x[:, count:], chosen), take(boxes[:, count:], chosen))
    if denoising is not None:
        noised = torch.cat((x[:, :count, None], model.keypoint_label(denoising.keypoint_labels)), 2)
        content = torch.cat((noised, content), 1)
        noised_references = decoder.person_references(boxes[:, :count], denoising.keypoints)
        references = torch.cat((noised_references, references), 1)
    layers = person_layers + decoder.decode_poses(content, references, values)
    real = [_slice(layer, slice(count, None)) for layer in layers]
    denoised = [_slice(layer, slice(0, count)) for layer in layers] if count else []
    return LayerOutput(proposals.logits, proposals.boxes, None), real, denoised, values


def _slice(layer: LayerOutput, persons: slice) -> LayerOutput:
    keypoints = None if layer.keypoints is None else layer.keypoints[:, persons]
    return LayerOutput(layer.logits[:, persons], layer.boxes[:, persons], keypoints)
