"""The function of every training worker: plain PyTorch from ``clickpose``, and four lines of Ray.

Ray wraps the network for data parallelism, provides the checkpoint to resume from and each worker's rank, and receives
the reports, at which all workers wait for each other.
"""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import ray.train
import ray.train.torch
import torch
from torch import Tensor

from clickpose.checkpoints.model_folder import LoadedModel, Network, load_model
from clickpose.errors import TrainingDiverged
from clickpose.skeleton import Skeleton
from clickpose.training.batches import EpochShare, load_batches
from clickpose.training.config import TrainConfig
from clickpose.training.loop import mean_over_processes, train_one_epoch
from clickpose.training.state import TrainState, build_state
from pipeline.epochs import EpochBatches, draw_epoch
from pipeline.mixture import DataSource, Mixture, open_mixture
from pipeline.run_log import RunLog
from pipeline.store import Store, local_folder
from pipeline.trackers import trackers
from pipeline.validation import BEST, CLICKS, Validation

STATE = "state.pt"
STATE_HERE = f"here/{STATE}"  # in the run's folder


@dataclass(frozen=True)
class TrainJob:
    """The task of every worker. Paths may be URIs that every worker can read.

    Attributes:
        start: the model folder that training starts from: network, skeleton and first weights.
        data: what to train on; each source has its share of every epoch.
        config: how to train.
        loader_processes: processes of each worker that prepare batches in advance.
        skip_bad: skip and log bad records and images, instead of failing.
        val: measured on after every epoch; the weights of the epoch with the fewest clicks are kept, too.
        checkpoint_minutes: the state is saved after every epoch, and within an epoch at this interval.
    """

    start: str
    data: tuple[DataSource, ...]
    config: TrainConfig
    loader_processes: int = 0
    skip_bad: bool = True
    checkpoint_minutes: float = 30.0
    val: DataSource | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainJob:
        """Build a job from plain values; InvalidConfig if its training settings cannot be used."""
        known = dict(values)
        if "annotations" in known:  # a run of a version that knew one data set only
            known["data"] = [{"annotations": known.pop("annotations"), "images": known.pop("images")}]
        data = tuple(DataSource(**source) for source in known.pop("data"))
        if known.get("val"):
            known["val"] = DataSource(**known["val"])
        return cls(**{**known, "data": data, "config": TrainConfig.from_dict(known["config"])})

    def open(self) -> tuple[LoadedModel, Mixture]:
        """Load the model to start from, and the data in its skeleton."""
        model = load_model(local_folder(self.start))
        return model, open_mixture(self.data, model.skeleton, skip_bad=self.skip_bad)

    def open_validation(self, skeleton: Skeleton) -> Validation | None:
        """Read the data to measure on, if there is any."""
        return Validation.open(self.val, skeleton, skip_bad=self.skip_bad) if self.val else None


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
    saver = Saver(state, 60 * job.checkpoint_minutes, run if settings["here"] else None)
    validation = job.open_validation(model.skeleton) if is_first() else None
    plots = trackers(run, asdict(job.config)) if is_first() else ()

    for epoch in range(state.first_epoch, job.config.epochs):
        batches = epoch_batches(job, model, data, epoch)
        steps_per_epoch = math.ceil(len(batches) / job.config.accumulate)
        log = RunLog(run, steps_per_epoch * job.config.epochs, epoch) if is_first() else None
        metrics = train_epoch(job, state, batches, epoch, saver, log)
        if validation and log:
            metrics |= validate(validation, state, log)
        saver.save(epoch + 1, metrics)
        if log:
            log.after_epoch(epoch, state.step, metrics)
        for tracker in plots:
            tracker.log(epoch, metrics)


def train_epoch(
    job: TrainJob, state: TrainState, batches: EpochBatches, epoch: int, saver: Saver, log: RunLog | None
) -> dict[str, float]:
    """Train an epoch, or the rest of one that was interrupted; return its mean losses.

    Raises:
        TrainingDiverged: a loss is not finite; the message names the images.
    """
    accumulate = job.config.accumulate
    steps_per_epoch = math.ceil(len(batches) / accumulate)

    def batch_number() -> int:
        return (state.step - epoch * steps_per_epoch) * accumulate

    def on_step(step: int, losses: Mapping[str, Tensor]) -> None:
        if log:
            log.at_step(step)
        saver.save_if_due(epoch, losses)

    remaining = load_batches(batches, job.loader_processes, first=batch_number())
    try:
        return train_one_epoch(state, remaining, job.config, steps_per_epoch, on_step)
    except TrainingDiverged as error:
        of_step = range(batch_number(), min(batch_number() + accumulate, len(batches)))
        names = sorted({name.partition("/")[2] for number in of_step for name in batches.names_in(number)})
        raise TrainingDiverged(f"{error}; its images: {', '.join(names)}") from error


def validate(validation: Validation, state: TrainState, log: RunLog) -> dict[str, float]:
    """Measure the averaged weights, and keep them if no earlier epoch of the run took fewer clicks."""
    metrics = validation.measure(cast(Network, state.average))
    if metrics[CLICKS] < min((entry[CLICKS] for entry in log.epochs), default=math.inf):
        weights = io.BytesIO()
        torch.save({"average": state.average.state_dict(), "metrics": metrics}, weights)
        log.store.write_bytes(BEST, weights.getvalue())
    return metrics


def prepare(model: LoadedModel, config: TrainConfig) -> TrainState:
    """Put a model under training on this worker's device, in step with the other workers."""
    state = build_state(model.network, model.skeleton, config)
    # A step with neither clicks nor noised persons leaves the label embeddings without a gradient.
    options = {"find_unused_parameters": True}
    state.network = ray.train.torch.prepare_model(state.network, parallel_strategy_kwargs=options)
    state.average.to(ray.train.torch.get_device())
    return state


def epoch_batches(job: TrainJob, model: LoadedModel, data: Mixture, epoch: int) -> EpochBatches:
    """Return this worker's share of an epoch."""
    context = ray.train.get_context()
    share = EpochShare(epoch, context.get_world_rank(), context.get_world_size())
    return draw_epoch(job.config, model, data, share, skip_bad=job.skip_bad)


def resume(state: TrainState, run: str) -> None:
    """Continue from the latest checkpoint of the run, if there is one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state.load_state_dict(read_state((Path(folder) / STATE).read_bytes()))
    elif Store(run).exists(STATE_HERE):
        state.load_state_dict(read_state(Store(run).read_bytes(STATE_HERE)))


class Saver:
    """Saves the state, and waits until every worker has done so.

    Ray keeps the checkpoint; where it starts no workers and keeps none, the run's folder ``keep_in`` does.
    """

    def __init__(self, state: TrainState, every_s: float, keep_in: str | None) -> None:
        self.state, self.every_s, self.keep_in = state, every_s, keep_in
        self.saved_at = time.monotonic()

    def save_if_due(self, epoch: int, losses: Mapping[str, Tensor]) -> None:
        """Save in the middle of an epoch if it is time in one of the workers."""
        is_due = float(time.monotonic() - self.saved_at >= self.every_s)
        if mean_over_processes(is_due, next(self.state.average.parameters()).device) > 0:
            self.save(epoch, {name: float(value) for name, value in losses.items()})

    def save(self, next_epoch: int, metrics: Mapping[str, float]) -> None:
        """Save what a resumed run needs to continue with ``next_epoch``, or in the middle of it."""
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if is_first():
                torch.save(self.state.state_dict(next_epoch), Path(folder) / STATE)
                checkpoint = ray.train.Checkpoint.from_directory(folder)
            if self.keep_in:
                Store(self.keep_in).write_bytes(STATE_HERE, (Path(folder) / STATE).read_bytes())
            ray.train.report(dict(metrics), checkpoint=checkpoint)
        self.saved_at = time.monotonic()


def read_state(data: bytes) -> dict[str, Any]:
    """Read a saved state; nothing in it is executed."""
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def is_first() -> bool:
    """Whether this is the worker that saves and logs."""
    return bool(ray.train.get_context().get_world_rank() == 0)
