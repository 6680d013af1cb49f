"""Annotated persons become targets in [0, 1]; who cannot be learnt from is left out."""

import numpy as np
import torch

from clickpose.training.targets import make_target
from tests.clickpose.builders import build_person

SIZE_WH = (200, 100)


def test_everything_is_normalised_to_the_image() -> None:
    person = build_person([(20, 10), (60, 50), (100, 90)], visibility=[2, 1, 2], area_px=1000.0)
    target = make_target([person], SIZE_WH, 3)
    torch.testing.assert_close(target.boxes, torch.tensor([[0.3, 0.5, 0.4, 0.8]]))
    torch.testing.assert_close(target.keypoints, torch.tensor([[[0.1, 0.1], [0.3, 0.5], [0.5, 0.9]]]))
    torch.testing.assert_close(target.areas, torch.tensor([0.05]))


def test_visible_and_occluded_are_labelled_alike() -> None:
    person = build_person([(20, 10), (60, 50), (100, 90)], visibility=[2, 1, 0])
    assert make_target([person], SIZE_WH, 3).labelled.tolist() == [[1, 1, 0]]


def test_crowds_and_persons_without_labels_or_a_size_are_left_out() -> None:
    points = [(20.0, 10.0), (60.0, 50.0)]
    persons = [
        build_person(points, is_crowd=True),
        build_person(points, visibility=[0, 0]),
        build_person(points, area_px=0.0),  # has no OKS, and the gradient of its loss would be NaN
        build_person(points, area_px=7.0),
    ]
    target = make_target(persons, SIZE_WH, 2)
    assert len(target) == 1 and target.areas.item() == np.float32(7 / 20_000)


def test_boxes_end_at_the_image() -> None:
    person = build_person([(-40, 50), (100, 150)])
    torch.testing.assert_close(make_target([person], SIZE_WH, 2).boxes, torch.tensor([[0.25, 0.75, 0.5, 0.5]]))


def test_a_image_without_persons_has_an_empty_target() -> None:
    target = make_target([], SIZE_WH, 17)
    assert len(target) == 0
    assert (target.boxes.shape, target.keypoints.shape) == ((0, 4), (0, 17, 2))
    assert (target.labelled.shape, target.areas.shape) == ((0, 17), (0,))
    assert {t.dtype for t in (target.boxes, target.keypoints, target.labelled, target.areas)} == {torch.float32}
