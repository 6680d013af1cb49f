"""The batches of an epoch in the person's frame: crops are drawn when they are first needed, and kept."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from clickpose.annotations import AnnotationSet
from clickpose.training.config import TrainConfig
from clickpose.training.person_frame.batches import CropBatches, KeptCrops
from clickpose.training.person_frame.drawing import CropDrawer, LoadImage

logger = logging.getLogger(__name__)

CACHE = "CLICKPOSE_CACHE"  # environment variable: the folder for what can be computed again
REUSED_DRAWINGS = 2  # the first drawings are kept for later trainings on the same data


@dataclass(frozen=True)
class CropSource:
    """One data set to learn from: its annotations, and how much of an epoch comes from it, against the others."""

    annotations: AnnotationSet
    weight: float = 1.0


@dataclass(frozen=True)
class CropEpochs:
    """Draws the epochs of a training.

    Attributes:
        sources: this process's part of each data set, in the network's skeleton.
        load_image: opens an annotated image of any of them, upright, RGB.
        drawer: sees the crops.
        config: of the training.
        cache: folder for kept crops.
    """

    sources: Sequence[CropSource]
    load_image: LoadImage
    drawer: CropDrawer
    config: TrainConfig
    cache: Path

    def batches(self, epoch: int, *, rank: int = 0, world_size: int = 1) -> CropBatches:
        """Return this process's batches of an epoch, after drawing the crops that it needs.

        Of a source with more persons than an epoch shows of it, not more than these are drawn.
        """
        drawing, total = epoch // self.drawer.config.epochs, sum(source.weight for source in self.sources)
        shown = (self.config.scenes_per_epoch or math.inf) / world_size
        parts = [
            KeptCrops(self._files(source.annotations, drawing, shown * source.weight / total))
            for source in self.sources
        ]
        weights = [
            torch.full((len(part),), s.weight / max(1, len(part))) for part, s in zip(parts, self.sources, strict=True)
        ]
        crops = KeptCrops.join(parts)
        size = self.config.scenes_per_epoch or len(crops) * world_size
        count = math.ceil(size / (self.config.batch_size * world_size))
        seed = (self.config.seed * 100_003 + epoch) * 1009 + rank
        return CropBatches(crops, self.config.batch_size, count, seed, torch.cat(weights))

    def _files(self, annotations: AnnotationSet, drawing: int, shown: float) -> list[Path]:
        num_persons = None if math.isinf(shown) else math.ceil(shown)
        files = []
        for file in self.drawer.draw(annotations, self.load_image, self.cache, drawing, num_persons=num_persons):
            files.append(file)
            logger.info("drawing %d: %d files of crops", drawing, len(files))
        for old in range(REUSED_DRAWINGS, drawing - 1):
            self.drawer.forget(annotations, self.cache, old)
        return files


def default_cache() -> Path:
    """Return the folder for kept crops: below ``$CLICKPOSE_CACHE``, else ``~/.cache/clickpose``."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "clickpose") / "crops"
