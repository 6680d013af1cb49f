"""The batches of an epoch, in either form of the method."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

import ray.train.torch

from clickpose.checkpoints.model_folder import LoadedModel
from clickpose.errors import InvalidConfig
from clickpose.first_guess.networks import make_finder
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.training.batches import EpochShare, TrainingBatches
from clickpose.training.config import TrainConfig
from clickpose.training.person_frame.batches import CropBatches
from clickpose.training.person_frame.drawing import CropDrawer
from clickpose.training.person_frame.epochs import CropEpochs, CropSource, default_cache
from clickpose.training.person_frame.settings import DrawConfig
from pipeline.mixture import Mixture

EpochBatches: TypeAlias = TrainingBatches | CropBatches


def draw_epoch(
    config: TrainConfig, model: LoadedModel, data: Mixture, share: EpochShare, *, skip_bad: bool
) -> EpochBatches:
    """Return a worker's share of an epoch."""
    if isinstance(model.network, PersonFrameNetwork):
        crops = crop_epochs(config, model.network, data, share, skip_bad=skip_bad)
        return crops.batches(share.epoch, rank=share.rank, world_size=share.world_size)
    return TrainingBatches(
        data.epoch(config.scenes_per_epoch, (config.seed, share.epoch)),
        data.load_image,
        model.network.config,
        config,
        share,
        skip_bad=skip_bad,
    )


def crop_epochs(
    config: TrainConfig, network: PersonFrameNetwork, data: Mixture, share: EpochShare, *, skip_bad: bool
) -> CropEpochs:
    """Return the epochs of crops in the person's frame; each worker draws and keeps the crops of its own images.

    Raises:
        InvalidConfig: the settings are those of the published form.
    """
    if not isinstance(config.augment, DrawConfig):
        raise InvalidConfig("the model works in the person's frame: choose the recipe person-frame")
    device = ray.train.torch.get_device()
    drawer = CropDrawer(make_finder(device), network.make_looker(device), config.augment, skip_bad)
    sources = [
        CropSource(replace(part, images=part.images[share.rank :: share.world_size]), source.weight)
        for part, source in zip(data.parts, data.sources, strict=True)
    ]
    return CropEpochs(sources, data.load_image, drawer, config, default_cache())
