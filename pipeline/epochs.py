"""What an epoch is made of, in either form of the method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import ray.train.torch

from clickpose.checkpoints.model_folder import LoadedModel
from clickpose.errors import InvalidConfig
from clickpose.first_guess.networks import make_finder, make_looker
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.training.batches import EpochShare, TrainingBatches
from clickpose.training.config import TrainConfig
from clickpose.training.person_frame.batches import CropBatches
from clickpose.training.person_frame.drawing import CropDrawer
from clickpose.training.person_frame.epochs import CropEpochs, CropSource, default_cache
from clickpose.training.person_frame.settings import DrawConfig
from pipeline.mixture import Mixture

EpochBatches: TypeAlias = TrainingBatches | CropBatches


def epoch_source(
    config: TrainConfig, model: LoadedModel, data: Mixture, rank: int, world_size: int, *, skip_bad: bool
) -> Callable[[int], EpochBatches]:
    """Return a function from an epoch's number to the share of it that worker ``rank`` has."""
    if isinstance(model.network, PersonFrameNetwork):
        crops = crop_epochs(config, model.network.frame_config.looker, data, rank, world_size)
        return lambda epoch: crops.batches(epoch, rank=rank, world_size=world_size)
    network = model.published_form()
    return lambda epoch: TrainingBatches(
        data.epoch(config.scenes_per_epoch, (config.seed, epoch)),
        data.load_image,
        network.config,
        config,
        EpochShare(epoch, rank, world_size),
        skip_bad=skip_bad,
    )


def crop_epochs(config: TrainConfig, looker: str, data: Mixture, rank: int, world_size: int) -> CropEpochs:
    """Return the epochs in the person's frame; each worker draws and keeps the crops of its own images.

    Raises:
        InvalidConfig: the settings are those of the published form.
    """
    if not isinstance(config.augment, DrawConfig):
        raise InvalidConfig("the model works in the person's frame: choose the recipe person-frame")
    device = ray.train.torch.get_device()
    drawer = CropDrawer(make_finder(device), make_looker(looker, device), config.augment)
    sources = [
        CropSource(replace(part, images=part.images[rank::world_size]), source.weight)
        for part, source in zip(data.parts, data.sources, strict=True)
    ]
    return CropEpochs(sources, data.load_image, drawer, config, default_cache())
