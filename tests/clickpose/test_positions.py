"""Encodings of positions against slow twins, and logits of coordinates there and back."""

import math

import pytest
import torch

from clickpose.model.positions import box_encoding, image_encoding, inverse_sigmoid, sine_encoding


def test_coordinates_are_there_and_back_within_the_limits() -> None:
    x = torch.linspace(0, 1, 2001)
    torch.testing.assert_close(inverse_sigmoid(x).sigmoid(), x.clamp(0.001, 0.999), atol=1e-5, rtol=0)


def test_logits_of_anything_are_finite() -> None:
    x = torch.tensor([-3.0, 0.0, 1.0, 2.5])
    assert inverse_sigmoid(x).isfinite().all()
    assert torch.equal(inverse_sigmoid(x), -inverse_sigmoid(1 - x))


def test_encoding_interleaves_sines_and_cosines_of_slower_and_slower_waves() -> None:
    position, channels, temperature = 1.7, 8, 20.0
    expected = []
    for pair in range(channels // 2):
        angle = position / temperature ** (2 * pair / channels)
        expected += [math.sin(angle), math.cos(angle)]
    assert sine_encoding(torch.tensor(position), channels, temperature).tolist() == pytest.approx(expected, abs=1e-6)


def test_boxes_are_encoded_as_y_x_w_h() -> None:
    box, width = torch.tensor([0.1, 0.2, 0.3, 0.4]), 16
    parts = [sine_encoding(box[i] * 2 * math.pi, width // 2, 10_000.0) for i in (1, 0, 2, 3)]
    torch.testing.assert_close(box_encoding(box, width), torch.cat(parts))


def test_cells_count_from_one_to_the_end_of_the_image() -> None:
    encoding = image_encoding(torch.zeros(1, 5, 3, dtype=torch.bool), 8)
    for row in range(5):
        for column in range(3):
            y, x = (2 * math.pi * n / total for n, total in ((row + 1, 5), (column + 1, 3)))
            expected = torch.cat([sine_encoding(torch.tensor(value), 4, 20.0) for value in (y, x)])
            torch.testing.assert_close(encoding[0, row, column], expected, atol=1e-5, rtol=0)


def test_padding_does_not_change_where_a_cell_is() -> None:
    padding = torch.ones(1, 7, 9, dtype=torch.bool)
    padding[:, :5, :3] = False
    small = image_encoding(torch.zeros(1, 5, 3, dtype=torch.bool), 8)
    torch.testing.assert_close(image_encoding(padding, 8)[:, :5, :3], small)
