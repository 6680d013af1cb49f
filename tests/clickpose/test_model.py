"""The whole network: images of a batch are independent, and a click moves only who was clicked."""

import dataclasses

import pytest
import torch
from torch import Tensor

from clickpose.boxes import cxcywh_to_xyxy
from clickpose.model import ClickPose, mobilenet_v2_demo, tiny
from clickpose.model.click_pose import extend_to_clicks
from clickpose.model.decoder import LayerOutput
from tests.clickpose.builders import NUM_KEYPOINTS, build_images, build_model, seeded


def detect(model: ClickPose, images: Tensor) -> LayerOutput:
    with torch.inference_mode():
        memory = model.encode(images)
        return model.estimate_poses(model.find_persons(memory), model.decoder.pose_values(memory))


def refine(model: ClickPose, images: Tensor, boxes: Tensor, keypoints: Tensor, **how) -> LayerOutput:
    with torch.inference_mode():
        return model.refine(boxes, keypoints, model.decoder.pose_values(model.encode(images)), **how)[-1]


def assert_same(first: LayerOutput, second: LayerOutput) -> None:
    for a, b in ((first.logits, second.logits), (first.boxes, second.boxes), (first.keypoints, second.keypoints)):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def joined(outputs: list[LayerOutput]) -> LayerOutput:
    return LayerOutput(*(torch.cat([getattr(o, name) for o in outputs]) for name in ("logits", "boxes", "keypoints")))


@pytest.mark.parametrize("preset", [tiny, mobilenet_v2_demo])
def test_a_batch_of_two_equals_one_and_one(preset) -> None:
    model, images = build_model(preset(NUM_KEYPOINTS)), build_images(2, (96, 128))
    assert_same(detect(model, images), joined([detect(model, image[None]) for image in images]))


def test_refining_a_batch_of_two_equals_one_and_one() -> None:
    model, images = build_model(), build_images(2)
    first = detect(model, images)
    apart = [refine(model, images[i : i + 1], first.boxes[i : i + 1], first.keypoints[i : i + 1]) for i in (0, 1)]
    assert_same(refine(model, images, first.boxes, first.keypoints), joined(apart))


def test_a_click_moves_only_who_was_clicked() -> None:
    model, images = build_model(), build_images()
    first = detect(model, images)
    clicked = first.keypoints.clone()
    clicked[1, 2, 5] = torch.tensor([0.8, 0.2])
    before, after = (refine(model, images, first.boxes, keypoints) for keypoints in (first.keypoints, clicked))
    moved = (before.keypoints != after.keypoints).flatten(2).any(-1)
    assert moved.nonzero().tolist() == [[1, 2]]


def test_refine_takes_any_number_of_persons_and_any_order() -> None:
    model, images = build_model(), build_images()
    boxes = 0.2 + 0.4 * torch.rand(2, 9, 4, generator=seeded(1))
    keypoints, order = torch.rand(2, 9, NUM_KEYPOINTS, 2, generator=seeded(2)), torch.randperm(9, generator=seeded(3))
    straight = refine(model, images, boxes, keypoints)
    shuffled = refine(model, images, boxes[:, order], keypoints[:, order])
    expected = LayerOutput(straight.logits[:, order], straight.boxes[:, order], straight.keypoints[:, order])
    assert_same(shuffled, expected)


def test_clicked_boxes_grow_and_pass_no_gradient_from_edges_that_moved() -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.2, 0.2]]], requires_grad=True)
    keypoints = torch.tensor([0.9, 0.5]).expand(1, 2, NUM_KEYPOINTS, 2).clone().requires_grad_()
    extended = extend_to_clicks(boxes, keypoints, torch.tensor([[True, False]]))
    corners = cxcywh_to_xyxy(extended)
    torch.testing.assert_close(corners[0], torch.tensor([[0.4, 0.4, 0.9, 0.6], [0.4, 0.4, 0.6, 0.6]]))
    right_edges = torch.autograd.grad(corners[..., 2].sum(), (boxes, keypoints), retain_graph=True, allow_unused=True)
    assert right_edges[0][0].tolist() == [[0, 0, 0, 0], [1, 0, 0.5, 0]] and right_edges[1] is None
    left_edges = torch.autograd.grad(corners[..., 0].sum(), boxes)[0]
    assert left_edges[0].tolist() == [[1, 0, -0.5, 0], [1, 0, -0.5, 0]]


def test_a_new_model_starts_calm() -> None:
    """Persons are rare, no head moves anything: what is found is where proposals are."""
    torch.manual_seed(0)
    model = ClickPose(tiny()).eval()
    for head in (model.proposal_head.class_head, *model.decoder.class_heads):
        assert head.bias.sigmoid().tolist() == pytest.approx([0.01, 0.01])
    images = build_images(1)
    with torch.inference_mode():
        memory = model.encode(images)
        proposals, persons = model.propose(memory), model.find_persons(memory)
        kept = torch.stack([boxes[i] for boxes, i in zip(proposals.boxes, persons.chosen, strict=True)])
        torch.testing.assert_close(persons.boxes, kept, atol=2e-3, rtol=0)
    first = detect(model, images)
    torch.testing.assert_close(first.boxes, persons.boxes, atol=2e-3, rtol=0)
    centres = first.boxes[:, :, None, :2].expand_as(first.keypoints)
    torch.testing.assert_close(first.keypoints, centres, atol=2e-3, rtol=0)


def test_weights_keep_their_place_in_memory_for_fast_convolutions() -> None:
    model = ClickPose(tiny())
    weights = [p for p in model.backbone.parameters() if p.dim() == 4 and p.shape[2] > 1 and p.shape[1] > 1]
    assert weights and all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)


def test_a_mark_on_held_keypoints_is_seen_by_the_others_and_without_any_nothing_changes() -> None:
    images, keypoints = build_images(1), torch.rand(1, 2, NUM_KEYPOINTS, 2, generator=seeded(1))
    boxes, free = torch.tensor([[[0.5, 0.5, 0.9, 0.9]] * 2]), torch.ones(1, 2, NUM_KEYPOINTS)
    plain = build_model()
    marking = build_model(dataclasses.replace(plain.config, mark_held=True))
    marking.load_state_dict(plain.state_dict(), strict=False)
    assert_same(refine(plain, images, boxes, keypoints, free=free), refine(marking, images, boxes, keypoints))
    free[0, 0, 3] = 0
    unmarked, marked = (refine(model, images, boxes, keypoints, free=free) for model in (plain, marking))
    moved = (unmarked.keypoints - marked.keypoints).abs().sum(-1)[0]
    assert (moved[0] > 1e-5).sum() > NUM_KEYPOINTS / 2 and moved[0, 3] < 1e-6 and (moved[1] < 1e-6).all()
