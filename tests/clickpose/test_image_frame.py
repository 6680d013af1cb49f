"""The whole image as a frame: pixels become fractions and come back."""

import numpy as np
import torch

from clickpose.boxes import cxcywh_to_xyxy
from clickpose.image_frame import ImageFrame

FRAME = ImageFrame((200, 50))


def test_the_corners_of_the_image_are_those_of_the_unit_square() -> None:
    corners = FRAME.points_to_frame(np.array([[0, 0], [200, 50]], np.float32))
    box = FRAME.boxes_to_frame(np.array([0, 0, 200, 50], np.float32))
    assert corners.tolist() == [[0, 0], [1, 1]]
    assert cxcywh_to_xyxy(box).tolist() == [0, 0, 1, 1]


def test_points_and_boxes_come_back_as_they_were() -> None:
    points, boxes = np.array([[[12.5, 40.25]]], np.float32), np.array([[10, 20, 110, 45], [-5, 0, 7, 60]], np.float32)
    torch.testing.assert_close(FRAME.points_to_px(FRAME.points_to_frame(points)), torch.from_numpy(points))
    torch.testing.assert_close(FRAME.boxes_to_px(FRAME.boxes_to_frame(boxes)), torch.from_numpy(boxes))


def test_a_box_is_clipped_at_the_edges_of_the_image() -> None:
    assert FRAME.clip(np.array([-3, 10, 250, 51], np.float32)).tolist() == [0, 10, 200, 50]
