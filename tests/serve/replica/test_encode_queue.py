"""Images that wait are encoded together; a bad one spoils no other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from PIL import Image

from serve.replica.encode_queue import EncodeQueue

BAD, GOOD = (13, 10), (160, 120)


class CountingPredictor:
    """Notes how many images each call contains; refuses one size."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def encode_all(self, images: list[Image.Image]) -> list[Any]:
        self.calls.append(len(images))
        if any(image.size == BAD for image in images):
            raise ValueError("bad")
        return [image.size for image in images]


def encode(sizes: list[tuple[int, int]], max_together: int) -> tuple[list[Any], list[int]]:
    """Encode images that arrive at the same time; return the results, and the size of each call."""
    predictor: Any = CountingPredictor()

    async def encode_all() -> list[Any]:
        queue = EncodeQueue(asyncio.to_thread, max_together)
        images = [Image.new("RGB", size) for size in sizes]
        return await asyncio.gather(*(queue.encode(predictor, image) for image in images), return_exceptions=True)

    return asyncio.run(encode_all()), predictor.calls


@pytest.mark.parametrize(("max_together", "calls"), [(1, [1] * 5), (2, [2, 2, 1]), (8, [5])])
def test_images_that_wait_are_encoded_together(max_together: int, calls: list[int]) -> None:
    sizes = [(160 + k, 120) for k in range(5)]
    assert encode(sizes, max_together) == (sizes, calls)


def test_a_bad_image_spoils_no_other() -> None:
    first, second, third = encode([GOOD, BAD, GOOD], 8)[0]
    assert first == third == GOOD and isinstance(second, ValueError)
