"""Different pictures in any number, made of those that ship with the examples: mirrored, cropped, brightened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from clickpose.images import read_image

SOURCE = Path(__file__).parents[2] / "examples" / "pictures" / "images"
MOST_CUT = 0.12  # of a side, off each edge


def write_pictures(folder: Path, count: int) -> list[str]:
    """Write pictures into a folder; return their names. The same count gives the same pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    sources, rng = sorted(SOURCE.glob("*.jpg")), np.random.default_rng(0)
    names = [f"{number:04d}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        picture = read_image(sources[number % len(sources)])
        _vary(picture, rng).save(folder / name, quality=90)
    return names


def _vary(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = picture.size
    left, top, right, bottom = rng.uniform(0, MOST_CUT, 4) * (width, height, width, height)
    cropped = picture.crop((int(left), int(top), int(width - right), int(height - bottom)))
    mirrored = ImageOps.mirror(cropped) if rng.random() < 0.5 else cropped
    return ImageEnhance.Brightness(mirrored).enhance(rng.uniform(0.8, 1.2))
