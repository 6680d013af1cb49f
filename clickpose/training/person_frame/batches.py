"""Batches of kept crops: read, and shown a little differently each time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import Dataset

MAP_NAMES = ("map0", "map1", "map2")


@dataclass(frozen=True)
class CropBatch:
    """B crops with their truth, in the frame of each.

    Attributes:
        maps: of three levels ``(B, h, w, C)``, as kept: in half precision.
        window: ``(B, 3)`` corner and side of the part of the crop that is this batch's frame.
        keypoints: ``(B, K, 2)``; anything where there is no label.
        labelled: ``(B, K)`` 1 where the keypoint carries a label and lies in the frame, else 0.
        areas: ``(B,)`` OKS scale squared, in squared sides of the frame.
        boxes: ``(B, 4)`` ``cxcywh``, a little off, as a finder's are.
        looked: ``(B, 17, 2)`` where the looker sees COCO's keypoints.
    """

    maps: tuple[Tensor, ...]
    window: Tensor
    keypoints: Tensor
    labelled: Tensor
    areas: Tensor
    boxes: Tensor
    looked: Tensor

    def __len__(self) -> int:
        """Number of crops."""
        return len(self.areas)

    @property
    def persons_per_image(self) -> list[int]:
        """Each crop shows one person who is trained on."""
        return [1] * len(self)

    def to(self, device: torch.device) -> CropBatch:
        """Copy to a device."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if name != "maps"}
        return replace(self, maps=tuple(map_.to(device) for map_ in self.maps), **tensors)


class KeptCrops:
    """The crops in some files, by number; maps stay on disk until they are asked for."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.shards = [load_file(file) for file in files]
        self.place = [(s, i) for s, shard in enumerate(self.shards) for i in range(len(shard["area"]))]
        self.names = [name for file in files for name in read_names(file)]
        counts = [(shard["visibility"] > 0).sum(1) for shard in self.shards]
        self.num_labelled = torch.cat(counts) if counts else torch.zeros(0, dtype=torch.int64)

    @classmethod
    def join(cls, parts: Sequence[KeptCrops]) -> KeptCrops:
        """Return the crops of all parts, in their order."""
        joined = cls([])
        for part in parts:
            joined.place += [(len(joined.shards) + shard, row) for shard, row in part.place]
            joined.shards += part.shards
            joined.names += part.names
        joined.num_labelled = torch.cat([part.num_labelled for part in parts])
        return joined

    def __len__(self) -> int:
        """Number of crops."""
        return len(self.place)

    def batch(self, numbers: Sequence[int]) -> CropBatch:
        """Read some crops, whole."""
        keypoints = self._read("keypoints", numbers)
        inside = ((keypoints > 0) & (keypoints < 1)).all(-1)
        whole = torch.tensor([0.0, 0.0, 1.0]).expand(len(numbers), 3)
        return CropBatch(
            maps=tuple(self._read(name, numbers) for name in MAP_NAMES),
            window=whole,
            keypoints=keypoints,
            labelled=((self._read("visibility", numbers) > 0) & inside).float(),
            areas=self._read("area", numbers),
            boxes=self._read("box", numbers),
            looked=self._read("guess", numbers),
        )

    def _read(self, name: str, numbers: Sequence[int]) -> Tensor:
        return torch.stack([self.shards[shard][name][row] for shard, row in (self.place[n] for n in numbers)])


def read_names(file: Path) -> list[str]:
    """Return the file name of the image behind each crop of a file."""
    with safe_open(file, "pt") as opened:
        names: list[str] = json.loads(opened.metadata()["images"])
    return names


@dataclass(frozen=True)
class CropBatches(Dataset[CropBatch]):
    """The batches of one epoch: crops drawn with replacement, well-labelled ones more often.

    Attributes:
        crops: to draw from.
        batch_size: crops per batch.
        count: batches of the epoch.
        seed: of this epoch and process.
        weights: ``(len(crops),)`` how often each crop is drawn, relative to the others; None for equally often.
    """

    crops: KeptCrops
    batch_size: int
    count: int
    seed: int
    weights: Tensor | None = None

    def __len__(self) -> int:
        """Number of batches."""
        return self.count

    def __getitem__(self, step: int) -> CropBatch:
        """Draw batch ``step``."""
        numbers, generator = self._draw(step)
        return vary(self.crops.batch(numbers), generator)

    def names_in(self, step: int) -> list[str]:
        """Return the file names of the images whose persons batch ``step`` shows."""
        return [self.crops.names[number] for number in self._draw(step)[0]]

    def _draw(self, step: int) -> tuple[list[int], torch.Generator]:
        weights = self.crops.num_labelled.float().sqrt()
        weights = weights if self.weights is None else weights * self.weights
        drawn, generator = draw_numbers(weights, self.batch_size, self.seed, step)
        return drawn.tolist(), generator


def draw_numbers(weights: Tensor, count: int, seed: int, step: int) -> tuple[Tensor, torch.Generator]:
    """Draw ``count`` numbers with replacement, each as often as its weight says, and return the generator, too."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    return torch.multinomial(weights, count, replacement=True, generator=generator), generator


def vary(batch: CropBatch, generator: torch.Generator) -> CropBatch:
    """Move and scale each frame a little, and each box within it: all that is left to vary once maps are kept."""

    def spread(*shape: int) -> Tensor:
        return (torch.rand(*shape, generator=generator) - 0.5).to(batch.areas.device)

    size = len(batch)
    side = 0.98 * torch.exp(0.3 * spread(size, 1))
    corner = 0.5 - side / 2 + 0.1 * spread(size, 2)

    def inside(points: Tensor) -> Tensor:
        return (points - corner[:, None]) / side[:, None]

    keypoints = inside(batch.keypoints)
    visible = ((keypoints > 0) & (keypoints < 1)).all(-1).float()
    centre, extent = inside(batch.boxes[:, None, :2])[:, 0], batch.boxes[:, 2:] / side
    centre = centre + 0.1 * spread(size, 2) * extent
    return replace(
        batch,
        window=torch.cat((corner, side), 1),
        keypoints=keypoints,
        labelled=batch.labelled * visible,
        areas=batch.areas / side[:, 0].square(),
        boxes=torch.cat((centre, extent * torch.exp(0.25 * spread(size, 2))), 1),
        looked=inside(batch.looked),
    )
