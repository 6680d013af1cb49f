"""Training batches, each a function of (seed, epoch, step): a resumed run sees the same as an uninterrupted one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.model.config import ModelConfig
from clickpose.model.inputs import to_tensor
from clickpose.training.augment import Augment, LoadImage, Sample, TrainingImages
from clickpose.training.config import TrainConfig
from clickpose.training.targets import Target, is_trained_on, make_target


@dataclass(frozen=True)
class Batch:
    """B images with their persons.

    Attributes:
        images: ``(B, 3, H, W)`` normalised; smaller images lie in the top left corner, zeros around them.
        targets: one per image, normalised to its own width and height.
        padding: ``(B, H, W)`` bool, True where there is no image; None if all are of one size.
    """

    images: Tensor
    targets: list[Target]
    padding: Tensor | None = None

    @property
    def persons_per_image(self) -> list[int]:
        """The number of persons per image that are trained on."""
        return [len(target) for target in self.targets]

    def to(self, device: torch.device) -> Batch:
        """Copy to a device."""
        padding = None if self.padding is None else self.padding.to(device)
        return Batch(self.images.to(device), [target.to(device) for target in self.targets], padding)


@dataclass(frozen=True)
class EpochShare:
    """A worker's share of an epoch.

    Attributes:
        epoch: which one.
        rank: which worker this is.
        world_size: how many workers share the epoch.
    """

    epoch: int
    rank: int = 0
    world_size: int = 1


class TrainingBatches(Dataset[Batch]):
    """All batches of one epoch for one worker; item i is batch i.

    Args:
        annotations: images to draw from; those without a labelled person (crowds do not count) are left out.
        load_image: opens an image upright.
        model: normalisation of pixels, and size of scenes.
        config: augmentation, images per batch and epoch, and the seed.
        share: which epoch, and which worker's part of it.
        skip_bad: skip and log images that cannot be used.
    """

    def __init__(
        self,
        annotations: AnnotationSet,
        load_image: LoadImage,
        model: ModelConfig,
        config: TrainConfig,
        share: EpochShare,
        *,
        skip_bad: bool = False,
    ) -> None:
        images = [image for image in annotations.images if any(map(is_trained_on, image.persons))]
        self.images, self.model = TrainingImages(images, load_image, annotations.skeleton, skip_bad), model
        self.augment, self.batch_size, self.share = (
            cast(Augment, config.augment).fit_to(model),
            config.batch_size,
            share,
        )
        self.seed = (config.seed, share.epoch)
        scenes = len(images) if config.scenes_per_epoch is None else config.scenes_per_epoch
        self.num_batches = max(1, scenes // (config.batch_size * share.world_size)) if images else 0
        self.order = np.random.default_rng(self.seed).permutation(len(images))

    def __len__(self) -> int:
        """Number of batches of this worker, the same for every worker."""
        return self.num_batches

    def __getitem__(self, step: int) -> Batch:
        """Draw batch ``step``."""
        rng = np.random.default_rng((*self.seed, self.share.rank, step))
        first = (step * self.share.world_size + self.share.rank) * self.batch_size
        wanted = [int(self.order[(first + i) % len(self.order)]) for i in range(self.batch_size)]
        samples = self.augment.draw_batch(wanted, self.images, rng)
        return make_batch(samples, self.model, len(self.images.skeleton))

    def names_in(self, step: int) -> list[str]:
        """Return the file names of all images in batch ``step``, by drawing it again."""
        names: list[str] = []
        drawn, load_image = self.images, self.images.load_image

        def load_and_note(image: AnnotatedImage) -> Image.Image:
            names.append(image.file_name)
            return load_image(image)

        self.images = replace(drawn, load_image=load_and_note)
        try:
            self[step]
        finally:
            self.images = drawn
        return names


def make_batch(samples: Sequence[Sample], model: ModelConfig, num_keypoints: int) -> Batch:
    """Normalise images and their persons, and pad the images to the largest width and height."""
    images, padding = pad_together([to_tensor(sample.image, model) for sample in samples])
    targets = [make_target(sample.persons, sample.image.size, num_keypoints) for sample in samples]
    return Batch(images, targets, padding)


def pad_together(images: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Stack padded ``(3, h, w)`` of any sizes; the images and padding of a ``Batch``."""
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    padded = torch.zeros(len(images), 3, height, width)
    padding = torch.ones(len(images), height, width, dtype=torch.bool)
    for place, outside, image in zip(padded, padding, images, strict=True):
        h, w = image.shape[1:]
        place[:, :h, :w] = image
        outside[:h, :w] = False
    return padded, padding if padding.any() else None


def load_batches(batches: Dataset[Any], num_workers: int = 0, first: int = 0) -> Iterator[Any]:
    """Iterate over an epoch's batches in order from number ``first``; ``num_workers`` processes prepare them."""
    remaining = Subset(batches, range(first, len(batches)))  # type: ignore[arg-type]
    return iter(DataLoader(remaining, batch_size=None, num_workers=num_workers))
