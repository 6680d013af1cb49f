"""Persons cut out of their images, in one small file: what the looker learns from where the images are not.

A packed square is larger than the person's frame, so that the frame can still be turned, scaled and shifted in it.
"""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset

from clickpose.annotations import AnnotatedImage, Floats, PersonAnnotation
from clickpose.first_guess.finder import Finder
from clickpose.person_frame.frame import Frame
from clickpose.poses import box_overlaps
from clickpose.training.person_frame.batches import draw_numbers
from clickpose.training.person_frame.drawing import SAME_PERSON, LoadImage, truth_in
from clickpose.training.person_frame.epochs import CropSource
from clickpose.training.targets import is_trained_on

PACKED_MARGIN = 1.5  # side of a packed square, in sides of the person's frame
PACKED_PX = 320  # side of a packed square; smaller ones are kept as small as they are
QUALITY = 75  # of WebP: about 4 KB per person of COCO, as much as JPEG at 45
THREADS = 16  # that decode


@dataclass(frozen=True)
class PackedBatch:
    """B packed squares with their truth, in the coordinates of each.

    Attributes:
        images: ``(B, 3, S, S)`` uint8.
        keypoints: ``(B, K, 2)``; anything where there is no label.
        visibility: ``(B, K)`` 0 where there is no label.
        areas: ``(B,)`` OKS scale squared, in squared sides of the packed square.
        boxes: ``(B, 4)`` ``cxcywh``.
        found: ``(B, 3)`` centre and side of the frame around the finder's box; side 0 where it finds nobody.
    """

    images: Tensor
    keypoints: Tensor
    visibility: Tensor
    areas: Tensor
    boxes: Tensor
    found: Tensor

    def __len__(self) -> int:
        """Number of persons."""
        return len(self.areas)

    @property
    def persons_per_image(self) -> list[int]:
        """Each square shows one person who is trained on."""
        return [1] * len(self)

    def to(self, device: torch.device) -> PackedBatch:
        """Copy to a device."""
        return PackedBatch(**{name: value.to(device) for name, value in vars(self).items()})


class PackedCrops:
    """Packed persons, by number; they are decoded when they are asked for."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors, self.ends = tensors, tensors["end"].tolist()
        self.num_labelled = (tensors["visibility"] > 0).sum(1)

    @classmethod
    def read(cls, file: str | Path) -> PackedCrops:
        """Read what ``pack`` wrote."""
        return cls(load_file(file))

    def __len__(self) -> int:
        """Number of persons."""
        return len(self.ends)

    def batch(self, numbers: Sequence[int]) -> PackedBatch:
        """Decode some persons."""
        with ThreadPoolExecutor(THREADS) as pool:
            images = list(pool.map(self._decode, numbers))
        truth = {name: self.tensors[name][list(numbers)] for name in ("keypoints", "visibility", "found")}
        areas, boxes = (self.tensors[name][list(numbers)] for name in ("area", "box"))
        return PackedBatch(torch.stack(images), areas=areas, boxes=boxes, **truth)

    def split(self, one_in: int) -> tuple[list[int], list[int]]:
        """Return the numbers of most persons, and of those in one of so many images, to measure on."""
        held_out = self.tensors["image"] % one_in == 0
        return (~held_out).nonzero()[:, 0].tolist(), held_out.nonzero()[:, 0].tolist()

    def _decode(self, number: int) -> Tensor:
        first = self.ends[number - 1] if number else 0
        image = Image.open(io.BytesIO(self.tensors["bytes"][first : self.ends[number]].numpy().tobytes()))
        pixels = image.convert("RGB").resize((PACKED_PX, PACKED_PX), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


@dataclass(frozen=True)
class PackedBatches(Dataset[PackedBatch]):
    """Batches of packed persons, drawn as those of kept crops are; as many as are asked for.

    Attributes:
        crops: to draw from.
        numbers: those to draw.
        batch_size: persons per batch.
        seed: of all batches.
    """

    crops: PackedCrops
    numbers: Sequence[int]
    batch_size: int
    seed: int

    def __getitem__(self, step: int) -> PackedBatch:
        """Draw batch ``step``."""
        numbers = torch.tensor(self.numbers)
        weights = self.crops.tensors["share"][numbers] * self.crops.num_labelled[numbers].sqrt()
        drawn, _ = draw_numbers(weights, self.batch_size, self.seed, step)
        return self.crops.batch(numbers[drawn].tolist())


def pack(
    sources: Sequence[CropSource],
    num_persons: Sequence[int],
    load_image: LoadImage,
    finder: Finder,
    file: Path,
    quality: int = QUALITY,
) -> PackedCrops:
    """Write the persons of some data sets to a file.

    Args:
        sources: data sets; the weight of each is its share of what is drawn from the file.
        num_persons: of each source at most so many, of images at random; empty for all.
        load_image: opens an annotated image, upright, RGB.
        finder: says where it sees persons.
        file: to write.
        quality: of the images, 1 to 100.

    Raises:
        ImageError: an image cannot be used.
    """
    rows: list[dict[str, Any]] = []
    for number, (source, most) in enumerate(zip(sources, num_persons or [sys.maxsize] * len(sources), strict=True)):
        images = [image for image in source.annotations.images if any(map(is_trained_on, image.persons))]
        random.Random(number).shuffle(images)
        packed = list(_pack_images(images, most, load_image, finder, quality))
        rows += [row | {"share": np.float32(source.weight / len(packed))} for row in packed]
    encoded = [row.pop("bytes") for row in rows]
    tensors = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
    tensors["bytes"] = torch.frombuffer(bytearray(b"".join(encoded)), dtype=torch.uint8)
    tensors["end"] = torch.tensor(np.cumsum([len(one) for one in encoded]))
    save_file(tensors, file)
    return PackedCrops(tensors)


def _pack_images(
    images: Sequence[AnnotatedImage], most: int, load_image: LoadImage, finder: Finder, quality: int
) -> Iterator[dict[str, Any]]:
    count = 0
    for record in images:
        if count >= most:
            return
        image, persons = load_image(record), [person for person in record.persons if is_trained_on(person)]
        found = finder(image).boxes_px
        for person in persons:
            yield _pack_person(image, person, found, quality) | {"image": np.int64(record.id)}
        count += len(persons)


def _pack_person(image: Image.Image, person: PersonAnnotation, found: Floats, quality: int) -> dict[str, Any]:
    frame = Frame.around(person.box_px)
    square = replace(frame, side_px=frame.side_px * PACKED_MARGIN)
    encoded = io.BytesIO()
    square.cut(image, min(PACKED_PX, max(1, round(square.side_px)))).save(encoded, "WEBP", quality=quality)
    return {"bytes": encoded.getvalue(), **truth_in(square, person), "found": _found_in(square, person, found)}


def _found_in(square: Frame, person: PersonAnnotation, found: Floats) -> Floats:
    """Return centre and side of the frame around the finder's box of a person, in a packed square."""
    overlaps = box_overlaps(person.box_px[None], found)[0] if len(found) else np.zeros(1)
    if overlaps.max() < SAME_PERSON:
        return np.zeros(3, np.float32)
    frame = Frame.around(found[overlaps.argmax()])
    centre = square.to_frame(np.array(frame.centre_px) - 0.5)
    return np.append(centre, frame.side_px / square.side_px).astype(np.float32)
