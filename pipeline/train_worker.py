"""What runs in every training worker: plain PyTorch of ``clickpose``, and four lines of Ray.

Ray wraps the network for data parallelism, hands over the checkpoint to resume from, tells each worker its rank, and
takes the report at which all wait for each other.
"""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch

from clickpose.checkpoints.model_folder import LoadedModel, load_model
from clickpose.training.batches import EpochShare, TrainingBatches, load_batches
from clickpose.training.config import TrainConfig
from clickpose.training.loop import train_one_epoch
from clickpose.training.state import TrainState, build_state
from pipeline.mixture import DataSource, Mixture, open_mixture
from pipeline.run_log import RunLog
from pipeline.store import Store, local_folder

STATE = "state.pt"
STATE_HERE = f"here/{STATE}"  # in the run's folder


@dataclass(frozen=True)
class TrainJob:
    """What every worker is told. Paths may be URIs; every worker must be able to read them.

    Attributes:
        start: the model folder that training starts from: it decides network, skeleton and first weights.
        data: what to train on; each source has its share of every epoch.
        config: how to train.
        loader_processes: processes of each worker that draw batches ahead of it.
        skip_bad: leave bad records and images out, and log each, instead of ending.
    """

    start: str
    data: tuple[DataSource, ...]
    config: TrainConfig
    loader_processes: int = 0
    skip_bad: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainJob:
        """Build a job from plain values; InvalidConfig if its training settings cannot be used."""
        known = dict(values)
        if "annotations" in known:  # a run begun by a version that knew one data set
            known["data"] = [{"annotations": known.pop("annotations"), "images": known.pop("images")}]
        data = tuple(DataSource(**source) for source in known.pop("data"))
        return cls(**{**known, "data": data, "config": TrainConfig.from_dict(known["config"])})

    def open(self) -> tuple[LoadedModel, Mixture]:
        """Load the model to start from, and the data in its skeleton."""
        model = load_model(local_folder(self.start))
        return model, open_mixture(self.data, model.skeleton, skip_bad=self.skip_bad)


def train_worker(settings: dict[str, Any]) -> None:
    """Train one replica; Ray Train runs this in every worker.

    Args:
        settings: ``job``, a ``TrainJob`` as plain values; ``run``, the folder or URI of the run; ``here``, whether
            this is the driver's own process and not a worker of Ray's.
    """
    job, run = TrainJob.from_dict(settings["job"]), settings["run"]
    model, data = job.open()
    state = prepare(model, job.config)
    resume(state, run)

    for epoch in range(state.first_epoch, job.config.epochs):
        batches = epoch_batches(job, model, data, epoch)
        steps_per_epoch = math.ceil(len(batches) / job.config.accumulate)
        log = RunLog(run, steps_per_epoch * job.config.epochs, epoch) if is_first() else None
        losses = train_one_epoch(
            state,
            load_batches(batches, job.loader_processes),
            job.config,
            steps_per_epoch,
            on_step=log.at_step if log else None,
        )
        report(state, epoch, losses, run if settings["here"] else None)
        if log:
            log.after_epoch(epoch, state.step, losses)


def prepare(model: LoadedModel, config: TrainConfig) -> TrainState:
    """Put a model under training on this worker's device, in step with the other workers."""
    state = build_state(model.network, model.skeleton, config)
    # A step with neither clicks nor noised persons leaves the label embeddings without a gradient.
    options = {"find_unused_parameters": True}
    state.network = ray.train.torch.prepare_model(state.network, parallel_strategy_kwargs=options)
    state.average.to(ray.train.torch.get_device())
    return state


def epoch_batches(job: TrainJob, model: LoadedModel, data: Mixture, epoch: int) -> TrainingBatches:
    """Return this worker's share of an epoch."""
    context = ray.train.get_context()
    return TrainingBatches(
        data.epoch(job.config.scenes_per_epoch, (job.config.seed, epoch)),
        data.load_image,
        model.network.config,
        job.config,
        EpochShare(epoch, context.get_world_rank(), context.get_world_size()),
        skip_bad=job.skip_bad,
    )


def resume(state: TrainState, run: str) -> None:
    """Continue from the latest checkpoint of the run, if there is one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state.load_state_dict(read_state((Path(folder) / STATE).read_bytes()))
    elif Store(run).exists(STATE_HERE):
        state.load_state_dict(read_state(Store(run).read_bytes(STATE_HERE)))


def report(state: TrainState, epoch: int, metrics: Mapping[str, float], keep_in: str | None) -> None:
    """Save the state after an epoch, and wait until every worker is done with it.

    Ray keeps the checkpoint; where it starts no workers and keeps none, the run's folder ``keep_in`` does.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = None
        if is_first():
            torch.save(state.state_dict(epoch + 1), Path(folder) / STATE)
            checkpoint = ray.train.Checkpoint.from_directory(folder)
        if keep_in:
            Store(keep_in).write_bytes(STATE_HERE, (Path(folder) / STATE).read_bytes())
        ray.train.report(dict(metrics), checkpoint=checkpoint)


def read_state(data: bytes) -> dict[str, Any]:
    """Read what ``report`` saved; nothing in it is executed."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def is_first() -> bool:
    """Whether this worker is the one that saves and logs."""
    return bool(ray.train.get_context().get_world_rank() == 0)
