"""Images that show their labels: a dot of its own colour at each keypoint, to be found wherever the image goes."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from clickpose.skeleton import Skeleton
from clickpose.training.augment import Sample
from tests.clickpose.builders import build_person

HANDS = Skeleton("hands", ("head", "left_hand", "right_hand"), (0.1,) * 3, flip_pairs=((1, 2),))
POINTS = [(60.0, 40.0), (90.0, 75.0), (35.0, 80.0)]
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]  # of head, left and right hand


def dotted(size_wh: tuple[int, int] = (120, 120), points=POINTS, radius: int = 4) -> Sample:
    """A black image with a dot of its own colour at each keypoint."""
    image = Image.new("RGB", size_wh)
    for (x, y), colour in zip(points, COLOURS, strict=True):
        ImageDraw.Draw(image).ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    return Sample(image, (build_person(points),))


def find_dot(image: Image.Image, colour: tuple[int, int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """Centre in pixels of the dot of some colour inside a box."""
    pixels = np.asarray(image.crop(box)).astype(float)
    channel = int(np.argmax(colour))
    others = np.delete(pixels, channel, axis=2).max(2)
    strength = np.clip(pixels[..., channel] - 2 * others, 0, None)
    rows, columns = np.indices(strength.shape) + 0.5
    return np.array([(columns * strength).sum(), (rows * strength).sum()]) / strength.sum() + box[:2]


def around(xy: np.ndarray, radius: int = 14) -> tuple[int, int, int, int]:
    x, y = xy.astype(int)
    return x - radius, y - radius, x + radius, y + radius
