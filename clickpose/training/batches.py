"""Batches of scenes, each a function of (seed, epoch, step): a resumed run sees what an unbroken one would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.model.config import ModelConfig
from clickpose.model.inputs import to_tensor
from clickpose.training.augment import AugmentConfig, Sample, compose_scene
from clickpose.training.targets import Target, make_target

LoadImage = Callable[[AnnotatedImage], Image.Image]


@dataclass(frozen=True)
class Batch:
    """Normalised scenes ``(B, 3, H, W)`` without padding, and one target each."""

    images: Tensor
    targets: list[Target]


class SceneBatches(Dataset[Batch]):
    """All batches of one epoch for one of several workers; item i is batch i.

    Args:
        annotations: pictures to draw from; those without a labelled person are left out.
        load_image: opens a picture upright.
        model: tells how pixels are normalised.
        augment: how scenes vary.
        batch_size: scenes a batch.
        seed: of the run.
        epoch: of the run.
        rank: which worker this is.
        world_size: how many workers share the epoch.
        scenes_per_epoch: scenes of all workers together; None stands for one per picture.
    """

    def __init__(
        self,
        annotations: AnnotationSet,
        load_image: LoadImage,
        model: ModelConfig,
        augment: AugmentConfig,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world_size: int = 1,
        scenes_per_epoch: int | None = None,
    ) -> None:
        self.images = [image for image in annotations.images if any(p.num_labelled for p in image.persons)]
        self.skeleton, self.load_image, self.model, self.augment = annotations.skeleton, load_image, model, augment
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.seed = (seed, epoch)
        scenes = len(self.images) if scenes_per_epoch is None else scenes_per_epoch
        self.num_batches = max(1, scenes // (batch_size * world_size)) if self.images else 0
        self.order = np.random.default_rng(self.seed).permutation(len(self.images))

    def __len__(self) -> int:
        """Number of batches of this worker, the same for every worker."""
        return self.num_batches

    def __getitem__(self, step: int) -> Batch:
        """Compose batch ``step``."""
        rng = np.random.default_rng((*self.seed, self.rank, step))
        size_wh = self.augment.canvas_sizes_px[rng.integers(len(self.augment.canvas_sizes_px))]
        first = (step * self.world_size + self.rank) * self.batch_size
        scenes = [self._scene(first + i, size_wh, rng) for i in range(self.batch_size)]
        targets = [make_target(scene.persons, size_wh, len(self.skeleton)) for scene in scenes]
        return Batch(torch.stack([to_tensor(scene.image, self.model) for scene in scenes]), targets)

    def _scene(self, position: int, size_wh: tuple[int, int], rng: np.random.Generator) -> Sample:
        counts = np.array([n for n in (1, 2, 4) if n <= self.augment.max_pictures])
        count = int(rng.choice(counts, p=1 / counts / (1 / counts).sum()))
        others = rng.integers(len(self.images), size=count - 1)
        chosen = [self.order[position % len(self.order)], *others]
        samples = [Sample(self.load_image(self.images[i]), self.images[i].persons) for i in chosen]
        return compose_scene(samples, size_wh, self.skeleton, self.augment, rng)


def load_batches(batches: SceneBatches, num_workers: int = 0) -> Iterator[Batch]:
    """Iterate over an epoch's batches in order, composing ahead in ``num_workers`` processes."""
    return iter(DataLoader(batches, batch_size=None, num_workers=num_workers))
