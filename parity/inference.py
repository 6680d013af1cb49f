"""Inference: every stage of the first pass, from the backbone to boxes in pixels."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from clickpose.boxes import cxcywh_to_xyxy
from clickpose.model import ClickPose
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.model.encoder import Tokens
from clickpose.model.proposals import NUM_CLASSES, Proposals, proposal_anchors
from parity.fixture import ACTIVATION, BACKBONE, COORDINATE, Fixture
from parity.recipe import draw_images, recipe_model, skeleton_of
from parity.watch import LayerCall, last_references, layer_calls, rows, watch

SHOWN_VISIBILITY = 0.7310586  # sigmoid(1): the published model's constant


def drawn_images(fixture: Fixture) -> tuple[Tensor, Tensor | None]:
    return draw_images(fixture.meta["image_seeds"], fixture.meta["sizes"])


def sigmas(fixture: Fixture) -> Tensor:
    return torch.from_numpy(skeleton_of(fixture.meta["K"]).sigma_array)


@torch.inference_mode()
def check_eval(fixture: Fixture) -> None:
    """Compare every stage from the backbone to the boxes in pixels."""
    model, (images, padding) = recipe_model(fixture.meta["K"], fixture.prepared), drawn_images(fixture)
    head, layers = model.proposal_head, model.decoder.layers
    with watch([model.backbone, model.projection, model.encoder.layers[0], head.norm, *layers]) as calls:
        memory = model.encode(images, padding)
        persons = model.find_persons(memory)
        output = model.estimate_poses(persons, model.decoder.pose_values(memory))
    for level, feature in zip("345", calls[model.backbone][0][1], strict=True):
        sampled = feature[(slice(None), *(slice(None, None, s) for s in fixture[f"backbone_C{level}_strides"]))]
        fixture.compare_by_size(f"backbone_C{level}", sampled, BACKBONE)
    _check_encoder(fixture, model, calls[model.projection][0][1], calls[model.encoder.layers[0]][0][1], memory, padding)
    proposals = model.propose(memory)
    order = _check_proposals(fixture, model, memory, proposals, calls[head.norm][0][1])
    by_layer = [layer_calls(calls[layer], memory.valid_ratios)[0] for layer in layers]
    _check_person_layers(fixture, model, by_layer, order, persons.chosen)
    _check_pose_layers(fixture, model, by_layer)
    check_output(fixture, "pred", output)
    for count in (20, 50):
        check_pixels(fixture, count, output)


def _check_encoder(
    fixture: Fixture, model: ClickPose, maps: list[Tensor], first_layer: Tensor, memory: Tokens, padding: Tensor | None
) -> None:
    tokens, positions = model.encoder.tokenize(maps, padding)
    stored = fixture["token_index"]
    masks = torch.zeros(tokens.content.shape[:2], dtype=torch.bool) if tokens.padding is None else tokens.padding
    fixture.compare("masks_flat", masks)
    fixture.compare("spatial_shapes", tokens.shapes)
    fixture.compare("level_start", [tokens.first_token(level) for level in range(len(tokens.shapes))])
    fixture.compare("valid_ratios", tokens.valid_ratios, COORDINATE)
    fixture.compare("src_flat", tokens.content[:, stored], ACTIVATION)
    fixture.compare("pos_plus_level", positions[:, stored], ACTIVATION)
    fixture.compare("enc_layer0", first_layer[:, stored], ACTIVATION)
    fixture.compare("memory", memory.content[:, stored], ACTIVATION)
    fixture.compare("memory_mean_per_channel", memory.content.mean(1), ACTIVATION)


def _check_proposals(
    fixture: Fixture, model: ClickPose, memory: Tokens, proposals: Proposals, contents: Tensor
) -> Tensor:
    """Return which of our rows each recorded proposal is ``(B, Q)``: near ties may be in another order."""
    stored, head = fixture["token_index"], model.proposal_head
    fixture.compare("enc_output", contents[:, stored], ACTIVATION)
    fixture.compare("enc_class_logits", head.class_head(contents), ACTIVATION)
    fixture.compare("enc_box_delta", head.box_head(contents[:, stored]), ACTIVATION)
    recorded = fixture.tensor("topk_index")
    missing = sum(len(set(a) - set(b)) for a, b in zip(recorded.tolist(), proposals.tokens.tolist(), strict=True))
    fixture.note("topk_index", missing, 0)
    order = (proposals.tokens[:, None] == recorded[:, :, None]).int().argmax(-1)
    fixture.compare("topk_ref_sigmoid", rows(proposals.boxes, order), COORDINATE)
    anchors, _ = proposal_anchors(memory)
    fixture.compare("topk_init_proposal_sigmoid", rows(anchors, recorded).sigmoid(), COORDINATE)
    return order


def _check_person_layers(
    fixture: Fixture, model: ClickPose, calls: list[LayerCall], order: Tensor, chosen: Tensor
) -> None:
    stored = fixture["query_index"]
    for i, call in enumerate(calls[: model.config.person_layers]):
        fixture.compare(f"ref{i}", rows(call.boxes, order), COORDINATE)
        fixture.compare(f"dec_qpos_layer{i}", rows(call.positions, order)[:, stored], ACTIVATION)
        fixture.compare(f"dec_layer{i}_raw", rows(call.raw, order)[:, stored], ACTIVATION)
    selecting = model.config.person_layers - 1
    logits = model.decoder.class_heads[selecting](calls[selecting].raw)
    fixture.compare("human_select_logits", rows(logits, order), ACTIVATION)
    fixture.compare("human_select_index", rows(order.argsort(-1), chosen))


def _check_pose_layers(fixture: Fixture, model: ClickPose, calls: list[LayerCall]) -> None:
    stored = fixture["group_query_index"]
    for i, call in enumerate(calls[model.config.person_layers :], model.config.person_layers):
        fixture.compare(f"ref{i}", call.boxes, COORDINATE)
        fixture.compare(f"dec_qpos_layer{i}", call.positions[:, stored], ACTIVATION)
        fixture.compare(f"dec_layer{i}_raw", call.raw[:, stored], ACTIVATION)
    last = last_references(model, calls[-1], group=model.config.num_keypoints + 1)
    fixture.compare(f"ref{len(calls)}", last, COORDINATE)


def check_output(fixture: Fixture, prefix: str, output: LayerOutput, visibility: float = SHOWN_VISIBILITY) -> None:
    """Compare logits, boxes and keypoints, all x and y before all visibilities."""
    fixture.compare(f"{prefix}_logits", output.logits, ACTIVATION)
    fixture.compare(f"{prefix}_boxes", output.boxes, COORDINATE)
    if output.keypoints is not None:
        shown = torch.full_like(output.keypoints[..., 0], visibility)
        fixture.compare(f"{prefix}_keypoints", torch.cat((output.keypoints.flatten(-2), shown), -1), COORDINATE)


def check_pixels(fixture: Fixture, count: int, output: LayerOutput) -> None:
    """Compare the ``count`` best (person, class) pairs of each image, in pixels."""
    sizes = fixture.meta["orig_sizes"]
    by_image = [best_pairs(output, i, (w, h), count) for i, (h, w) in enumerate(sizes)]
    shown = torch.full_like(output.keypoints[:, :count, :, :1], SHOWN_VISIBILITY)  # type: ignore[index]
    keypoints_px = torch.cat((torch.stack([pairs.keypoints_px for pairs in by_image]), shown), -1)
    in_pixels = COORDINATE * max(max(size) for size in sizes)
    fixture.compare(f"post{count}_scores", torch.stack([pairs.scores for pairs in by_image]), COORDINATE)
    fixture.compare(f"post{count}_labels", torch.stack([pairs.labels for pairs in by_image]))
    fixture.compare(f"post{count}_boxes", torch.stack([pairs.boxes_px for pairs in by_image]), in_pixels)
    fixture.compare(f"post{count}_keypoints", keypoints_px.flatten(-2), in_pixels)


@dataclass(frozen=True)
class Pairs:
    """The (person, class) pairs of one image, best first, as published results are; boxes ``xyxy``."""

    persons: Tensor
    labels: Tensor
    scores: Tensor
    boxes_px: Tensor
    keypoints_px: Tensor


def best_pairs(output: LayerOutput, image: int, size_wh: tuple[int, int], count: int) -> Pairs:
    """Select the ``count`` best pairs; both classes of a person may be among them."""
    scores, pairs = output.logits[image].sigmoid().flatten().topk(count)
    persons, wh = pairs // NUM_CLASSES, torch.tensor(size_wh)
    assert output.keypoints is not None
    return Pairs(
        persons,
        pairs % NUM_CLASSES,
        scores,
        cxcywh_to_xyxy(output.boxes[image, persons]) * wh.repeat(2),
        output.keypoints[image, persons] * wh,
    )


@cache
def first_pass(
    num_keypoints: int, seeds: tuple[int, ...], sizes_hw: tuple[tuple[int, int], ...], prepared: bool
) -> tuple[LayerOutput, LayerValues]:
    """Poses of a batch before any click, and what the loop needs to know of its images."""
    model = recipe_model(num_keypoints, prepared)
    with torch.inference_mode():
        memory = model.encode(*draw_images(seeds, sizes_hw))
        values = model.decoder.pose_values(memory)
        return model.estimate_poses(model.find_persons(memory), values), values


def encoded_batch(fixture: Fixture) -> tuple[LayerOutput, LayerValues]:
    meta = fixture.meta
    sizes_hw = tuple(tuple(size) for size in meta["sizes"])
    return first_pass(meta["K"], tuple(meta["image_seeds"]), sizes_hw, fixture.prepared)
