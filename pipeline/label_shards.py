"""Distribute shards: to actors of Ray Data, or to a labeller in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from clickpose.errors import ClickPoseError
from pipeline.cluster import connect, free_workers, gpus_of_worker
from pipeline.labeller import Labeller, LoadPredictor, ShardResult, shard_to_row
from pipeline.prelabelled import Model, Shard


@dataclass(frozen=True)
class Job:
    """The task of every worker.

    Attributes:
        model: labels.
        out: the folder of pre-labels.
        load: loads its predictor.
        mirror: also look at mirrored images.
        gpus: of each worker; None for one if the cluster has any or could start some.
    """

    model: Model
    out: str
    load: LoadPredictor
    mirror: bool = False
    gpus: float | None = None


def label_shards(shards: Sequence[Shard], job: Job, num_workers: int | None) -> Iterator[ShardResult]:
    """Yield the result of each shard as soon as it is there: from Ray, or this process if ``num_workers`` is 0."""
    if not shards:
        return
    if num_workers is None:
        connect()
        num_workers = free_workers(gpus_of_worker(job.gpus))
    yield from _on_ray(shards, job, num_workers) if num_workers else _in_this_process(shards, job)


def _in_this_process(shards: Sequence[Shard], job: Job) -> Iterator[ShardResult]:
    labeller = Labeller(job.model, job.out, job.load, mirror=job.mirror)
    yield from map(labeller.label, shards)


def _on_ray(shards: Sequence[Shard], job: Job, num_workers: int) -> Iterator[ShardResult]:
    import ray

    connect()
    rows = [shard_to_row(shard) for shard in shards]
    results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Labeller,  # type: ignore[arg-type]  # Ray makes an actor of the class and calls that
        fn_constructor_args=(job.model, job.out, job.load),
        fn_constructor_kwargs={"mirror": job.mirror},
        compute=ray.data.ActorPoolStrategy(size=min(num_workers, len(shards))),
        num_cpus=1,
        num_gpus=gpus_of_worker(job.gpus) or None,
    )
    results.context.enable_progress_bars = False
    try:
        for row in results.iter_rows():
            yield ShardResult.from_row(row)
    except ray.exceptions.RayError as error:
        raise ClickPoseError(f"labelling failed, run it again to resume: {str(error).splitlines()[-1]}") from error
