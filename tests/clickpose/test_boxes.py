"""Boxes there and back, overlaps as torchvision has them, and boxes that grow with their keypoints."""

import pytest
import torch
from torchvision.ops import generalized_box_iou

from clickpose.boxes import cxcywh_to_xyxy, extend_to_keypoints, generalized_iou, xyxy_to_cxcywh
from tests.clickpose.builders import seeded


def random_boxes(count: int, seed: int = 0) -> torch.Tensor:
    """``cxcywh`` in [0, 1]."""
    return 0.1 + 0.5 * torch.rand(count, 4, generator=seeded(seed))


def test_centre_and_corners_are_there_and_back() -> None:
    boxes = random_boxes(50)
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)
    assert cxcywh_to_xyxy(torch.tensor([0.5, 0.4, 0.2, 0.6])).tolist() == pytest.approx([0.4, 0.1, 0.6, 0.7])


def test_overlap_is_that_of_torchvision() -> None:
    boxes, others = cxcywh_to_xyxy(random_boxes(20, 1)), cxcywh_to_xyxy(random_boxes(30, 2))
    expected = generalized_box_iou(boxes, others)
    torch.testing.assert_close(generalized_iou(boxes[:, None], others), expected, atol=1e-4, rtol=0)


def test_overlap_of_a_box_with_itself_is_one_and_of_distant_boxes_nearly_minus_one() -> None:
    small, far = torch.tensor([0.0, 0.0, 0.05, 0.05]), torch.tensor([0.95, 0.95, 1.0, 1.0])
    assert generalized_iou(small, small) == pytest.approx(1, abs=1e-3)
    assert generalized_iou(small, far) == pytest.approx(-1, abs=0.01)


def test_an_empty_box_has_an_overlap() -> None:
    assert generalized_iou(torch.full((4,), 0.5), torch.full((4,), 0.5)).isfinite()


def test_a_box_grows_just_enough_for_its_keypoints() -> None:
    box, keypoints = torch.tensor([0.5, 0.5, 0.2, 0.2]), torch.tensor([[0.5, 0.5], [0.9, 0.55], [0.45, 0.1]])
    extended = cxcywh_to_xyxy(extend_to_keypoints(box, keypoints))
    assert extended.tolist() == pytest.approx([0.4, 0.1, 0.9, 0.6])


def test_a_box_that_contains_its_keypoints_stays() -> None:
    boxes = random_boxes(9)
    inside = boxes[:, None, :2] + (torch.rand(9, 5, 2, generator=seeded(3)) - 0.5) * boxes[:, None, 2:]
    torch.testing.assert_close(extend_to_keypoints(boxes, inside), boxes)


def test_a_box_never_shrinks() -> None:
    boxes, keypoints = random_boxes(50), torch.rand(50, 4, 2, generator=seeded(4))
    before, after = cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(extend_to_keypoints(boxes, keypoints))
    assert (after[:, :2] <= before[:, :2] + 1e-6).all() and (after[:, 2:] >= before[:, 2:] - 1e-6).all()
    assert (after[:, None, :2] <= keypoints + 1e-6).all() and (after[:, None, 2:] >= keypoints - 1e-6).all()
