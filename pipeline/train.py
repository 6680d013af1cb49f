"""Train a model: in this process, on a GPU, on a cluster. An interrupted training resumes when called again."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.errors import ClickPoseError, InvalidAnnotation, InvalidConfig
from pipeline.cluster import connect, gpus_of_worker
from pipeline.run_log import read_log, shown
from pipeline.store import Store, local_folder
from pipeline.train_worker import STATE, STATE_HERE, TrainJob, read_state, train_worker
from pipeline.validation import BEST

__all__ = ["TrainJob", "TrainResult", "train", "train_worker"]

logger = logging.getLogger(__name__)

CHECKPOINTS_KEPT = 2  # the very last report may be lost with the worker that made it
SETTINGS = "settings.json"
NO_MIRRORING = (
    "images are not mirrored: skeleton %r has no pairs of left and right; if it should, name them in its file, as"
    ' "flip_pairs": [["eye_a", "eye_b"], ...]'
)


@dataclass(frozen=True)
class TrainResult:
    """How training ended.

    Attributes:
        folder: the model after the last epoch.
        metrics: mean losses of the last epoch and, with data to measure on, what they say of it.
        run: the folder or URI of the run.
        best: the model after the epoch with the fewest clicks, if there is data to measure on.
    """

    folder: str
    metrics: dict[str, float]
    run: str
    best: str | None = None


def train(
    job: TrainJob,
    out: str | Path,
    *,
    run: str | Path,
    num_workers: int = 0,
    max_failures: int = 3,
    gpus_per_worker: float | None = None,
) -> TrainResult:
    """Train a model and write it to a folder.

    Args:
        job: model to start from, data and settings.
        out: the model folder to write, on this machine.
        run: folder or URI for checkpoints and log. A run that was interrupted resumes, so every new training needs a
            new one.
        num_workers: 0 trains in this process; else Ray workers. More than one on several machines need a ``run`` that
            all of them can write.
        max_failures: crashes of a worker after which training fails.
        gpus_per_worker: None asks for one if the cluster has any or its autoscaler could start some, else for none.

    Raises:
        InvalidAnnotation: no person has a labelled keypoint.
        InvalidConfig: ``run`` was started with other settings.
        ClickPoseError: a worker failed too often; the message holds its error.
    """
    store = Store(run)
    settings = {"job": job.to_dict(), "run": store.uri, "here": num_workers == 0}
    _check_annotations(job)
    _remember(store, settings)
    if num_workers:
        connect()
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=settings,
        scaling_config=scaling(num_workers, gpus_per_worker),
        run_config=_run_config(store, max_failures),
    )
    with shown(store.uri, "training"):
        checkpoint = _fit(trainer, store)
    metrics = {name: value for name, value in read_log(store.uri)["epochs"][-1].items() if name != "epoch"}
    _write_model(job, _final_state(checkpoint if num_workers else None, store), metrics, out)
    return TrainResult(str(out), metrics, store.uri, _write_best(job, store, out))


def _check_annotations(job: TrainJob) -> None:
    model, data = job.open()
    if data.num_persons == 0:
        names = ", ".join(model.skeleton.keypoints)
        files = ", ".join(source.annotations for source in job.data)
        raise InvalidAnnotation(f"{files}: there is no person with a labelled keypoint among {names}")
    if not model.skeleton.can_mirror:
        logger.warning(NO_MIRRORING, model.skeleton.name)


def _remember(store: Store, settings: dict[str, Any]) -> None:
    """Refuse to resume a run with other settings: its schedule and data would change on the way.

    A setting that is missing in a run of an earlier version has its default, which is what that version did.
    """
    if store.exists(SETTINGS) and _with_job(store.read_json(SETTINGS)) != _with_job(settings):
        raise InvalidConfig(f"{store.uri} was started with other settings: see {SETTINGS} there, or choose a new run")
    store.write_json(SETTINGS, settings)


def _with_job(settings: dict[str, Any]) -> dict[str, Any]:
    return {**settings, "job": TrainJob.from_dict(settings["job"])}


def _run_config(store: Store, max_failures: int) -> RunConfig:
    """Let Ray keep the checkpoints of a run inside the run's own folder."""
    root, _, name = store.path_of("").rpartition("/")
    return RunConfig(
        name=name,
        storage_path=root or "/",
        storage_filesystem=store.filesystem,
        failure_config=FailureConfig(max_failures=max_failures),
        checkpoint_config=CheckpointConfig(num_to_keep=CHECKPOINTS_KEPT),
    )


def scaling(num_workers: int, gpus_per_worker: float | None) -> ScalingConfig:
    """Return the workers to ask for, with GPUs if the cluster has any or could start some, unless told otherwise."""
    if not num_workers:
        return ScalingConfig(num_workers=0)
    gpus = gpus_of_worker(gpus_per_worker)
    return ScalingConfig(
        num_workers=num_workers, use_gpu=gpus > 0, resources_per_worker={"CPU": 1, "GPU": gpus} if gpus else None
    )


def _fit(trainer: TorchTrainer, store: Store) -> Checkpoint | None:
    try:
        return trainer.fit().checkpoint
    except ray.train.TrainingFailedError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ClickPoseError(f"training {store.uri} failed, run it again to resume: {reason}") from error


def _final_state(checkpoint: Checkpoint | None, store: Store) -> dict[str, Any]:
    """Return the state after the last epoch, from Ray's checkpoint, or from the run's folder if Ray keeps none."""
    if checkpoint is None:
        return read_state(store.read_bytes(STATE_HERE))
    with checkpoint.as_directory() as folder:
        return read_state((Path(folder) / STATE).read_bytes())


def _write_model(job: TrainJob, state: dict[str, Any], metrics: dict[str, float], out: str | Path) -> None:
    """Write the moving average as a model like the one that training started from."""
    model = load_model(local_folder(job.start))
    model.network.load_state_dict(state["average"])
    save_model(out, model.network, model.skeleton, metrics=metrics, card=_card(job, metrics))


def _write_best(job: TrainJob, store: Store, out: str | Path) -> str | None:
    """Write the weights of the epoch with the fewest clicks beside the last ones."""
    if job.val is None or not store.exists(BEST):
        return None
    best = read_state(store.read_bytes(BEST))
    _write_model(job, best, best["metrics"], f"{out}-best")
    return f"{out}-best"


def _card(job: TrainJob, metrics: dict[str, float]) -> str:
    """Describe how a model was made."""
    numbers = "\n".join(f"| {name} | {value:.4f} |" for name, value in sorted(metrics.items()))
    data = "".join(f"- data: `{source.annotations}`, weight {source.weight:g}\n" for source in job.data)
    return (
        f"# Model trained {datetime.now(UTC):%Y-%m-%d}\n\n"
        f"- parent: `{job.start}`\n{data}- epochs: {job.config.epochs}\n\n"
        f"| last epoch | |\n|---|---|\n{numbers}\n"
    )
