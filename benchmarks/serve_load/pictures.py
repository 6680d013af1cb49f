"""Any number of different images, made from those of the examples: mirrored, cropped, brightened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from clickpose.images import read_image

SOURCE = Path(__file__).parents[2] / "examples" / "pictures" / "images"
MAX_CUT = 0.12  # of a side, off each edge


def write_pictures(folder: Path, count: int) -> dict[str, tuple[int, int]]:
    """Write images into a folder; return their sizes by name. The same count gives the same images."""
    folder.mkdir(parents=True, exist_ok=True)
    sources, rng = sorted(SOURCE.glob("*.jpg")), np.random.default_rng(0)
    sizes = {}
    for number in range(count):
        picture = _vary(read_image(sources[number % len(sources)]), rng)
        picture.save(folder / f"{number:04d}.jpg", quality=90)
        sizes[f"{number:04d}.jpg"] = picture.size
    return sizes


def _vary(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = picture.size
    left, top, right, bottom = rng.uniform(0, MAX_CUT, 4) * (width, height, width, height)
    cropped = picture.crop((int(left), int(top), int(width - right), int(height - bottom)))
    mirrored = ImageOps.mirror(cropped) if rng.random() < 0.5 else cropped
    return ImageEnhance.Brightness(mirrored).enhance(rng.uniform(0.8, 1.2))
