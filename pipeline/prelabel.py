"""Label pictures by the million: Ray Data hands out shards, actors label them, a second run does what is missing.

Every picture ends labelled once or listed with the reason. What crosses between processes is names and counts: the
pictures are read, and the poses written, by the actors.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from clickpose.errors import ClickPoseError, InvalidConfig, StoreError
from pipeline.breadcrumbs import sweep
from pipeline.cluster import connect, free_workers, has_gpu
from pipeline.labeller import Labeller, LoadPredictor, ShardResult, load_predictor
from pipeline.pictures import find_pictures
from pipeline.progress import progress
from pipeline.registry import folder_digest
from pipeline.roots import remember_root, root_of
from pipeline.shards import (
    FAILED,
    MANIFEST,
    Failure,
    Model,
    Part,
    Shard,
    plan_shards,
    read_failures,
    read_parts,
    read_prelabels,
    write_failures,
)
from pipeline.store import Store, local_folder

__all__ = ["PrelabelSummary", "prelabel", "read_failures", "read_prelabels"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrelabelSummary:
    """How a run ended. Counts are of pictures: ``num_labelled + num_kept + num_failed == num_pictures``.

    Attributes:
        out: the folder or URI of the pre-labels.
        model_version: the model that labelled.
        num_pictures: asked for.
        num_labelled: labelled by this run.
        num_kept: labelled by an earlier run.
        num_failed: listed in ``failed.parquet`` with the reason.
        seconds: how long this run took.
    """

    out: str
    model_version: str
    num_pictures: int
    num_labelled: int
    num_kept: int
    num_failed: int
    seconds: float


@dataclass(frozen=True)
class Job:
    """What every worker is told: the model, where pre-labels go, and how to make a predictor."""

    model: Model
    out: str
    load: LoadPredictor


def prelabel(
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    model_folder: str | Path,
    *,
    shard_size: int = 64,
    num_workers: int | None = None,
    load: LoadPredictor = load_predictor,
) -> PrelabelSummary:
    """Label every picture that ``out`` does not hold yet.

    Args:
        images: folder, pattern, list or text file of pictures; see ``find_pictures``.
        out: the folder or URI of the pre-labels, e.g. ``<store>/prelabels/<run>``; one model each.
        model_folder: path or URI of the model. Its last name is the version.
        shard_size: pictures in a part at most; what a death costs.
        num_workers: actors; None means what the cluster has room for, 0 this process and no Ray.
        load: makes the predictor inside a worker.

    Raises:
        ImageError: there are no pictures.
        InvalidConfig: a number is out of range.
        StoreError: ``out`` holds the pre-labels of another model, or cannot be written.
        ClickPoseError: the workers cannot start; the message says why.
    """
    if shard_size < 1 or (num_workers or 0) < 0:
        raise InvalidConfig(f"shard_size {shard_size} must be at least 1 and num_workers {num_workers} at least 0")
    began = time.monotonic()
    store, model, uris = Store(out), describe_model(model_folder), find_pictures(images)
    parts = _parts_of(store, model)
    remember_root(store, root_of(images if isinstance(images, str | Path) else uris, uris))
    sweep(store)

    labelled = {uri for part in parts for uri in part.uris}
    missing = [uri for uri in uris if uri not in labelled]
    results = _label_all(missing, Job(model, store.uri, load), shard_size, num_workers)
    sweep(store)

    failures = _account_for(missing, results, store)
    write_failures(store, [*_failed_elsewhere(store, uris, labelled), *failures])
    summary = PrelabelSummary(
        out=store.uri,
        model_version=model.version,
        num_pictures=len(uris),
        num_labelled=len(missing) - len(failures),
        num_kept=len(uris) - len(missing),
        num_failed=len(failures),
        seconds=round(time.monotonic() - began, 3),
    )
    store.write_json(MANIFEST, _manifest(summary, model, parts, results))
    logger.info("%s", summary)
    return summary


def describe_model(folder: str | Path) -> Model:
    """Name the model in a folder or URI by its last part, and take the hash of its content."""
    uri = str(folder) if "://" in str(folder) else str(Path(folder).absolute())
    version = PurePosixPath(urlsplit(uri).path if "://" in uri else uri).name
    return Model(version, uri, folder_digest(local_folder(uri)))


def _parts_of(store: Store, model: Model) -> list[Part]:
    """Parts of earlier runs, all by the same model."""
    parts = read_parts(store)
    if any(part.model_digest != model.digest for part in parts):
        raise StoreError(f"{store.uri} holds pre-labels of another model than {model.version}; choose another folder")
    return parts


def _label_all(uris: Sequence[str], job: Job, shard_size: int, num_workers: int | None) -> list[ShardResult]:
    """Label pictures on Ray, or in this process where ``num_workers`` is 0."""
    results: list[ShardResult] = []
    if not uris:
        return results
    if num_workers is None:
        connect()
        num_workers = free_workers()
    fair_share = math.ceil(len(uris) / max(1, num_workers))
    shards = plan_shards(uris, job.model, min(shard_size, fair_share))
    run = _on_ray(shards, job, num_workers) if num_workers else _in_this_process(shards, job)
    with progress(f"labelling with {job.model.version}", len(uris)) as advance:
        for result in run:
            results.append(result)
            advance(result.num_labelled + len(result.failures))
    return results


def _in_this_process(shards: Sequence[Shard], job: Job) -> Iterator[ShardResult]:
    labeller = Labeller(job.model, job.out, job.load)
    yield from map(labeller.label, shards)


def _on_ray(shards: Sequence[Shard], job: Job, num_workers: int) -> Iterator[ShardResult]:
    """Yield the result of each shard as soon as an actor has it."""
    import ray

    connect()
    rows = [{"name": shard.name, "uris": list(shard.uris)} for shard in shards]
    results = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Labeller,  # type: ignore[arg-type]  # Ray makes an actor of the class and calls that
        fn_constructor_args=(job.model, job.out, job.load),
        compute=ray.data.ActorPoolStrategy(size=min(num_workers, len(shards))),
        num_cpus=1,
        num_gpus=1 if has_gpu() else None,
    )
    results.context.enable_progress_bars = False
    try:
        for row in results.iter_rows():
            yield ShardResult.from_row(row)
    except ray.exceptions.RayError as error:
        raise ClickPoseError(f"labelling stopped, run it again to go on: {str(error).splitlines()[-1]}") from error


def _account_for(uris: Sequence[str], results: Sequence[ShardResult], store: Store) -> list[Failure]:
    """Failures of this run, with every picture that is neither labelled nor reported as failed."""
    failures = [failure for result in results for failure in result.failures]
    if len(failures) + sum(result.num_labelled for result in results) == len(uris):
        return failures
    known = {failure.uri for failure in failures}.union(*(part.uris for part in read_parts(store)))
    lost = [Failure(uri, f"{uri} never came back from its worker; run again") for uri in uris if uri not in known]
    return failures + lost


def _failed_elsewhere(store: Store, uris: Sequence[str], labelled: set[str]) -> list[Failure]:
    """Failures of earlier runs over other pictures, which this run cannot have mended."""
    if not store.exists(FAILED):
        return []
    known = labelled.union(uris)
    return [failure for failure in read_failures(store.uri) if failure.uri not in known]


def _manifest(
    summary: PrelabelSummary, model: Model, parts: Sequence[Part], results: Sequence[ShardResult]
) -> dict[str, Any]:
    """Describe the whole folder, earlier runs included."""
    written = [result for result in results if result.num_labelled]
    pictures = {part.name: len(part.uris) for part in parts} | {r.name: r.num_labelled for r in written}
    hashes = {part.name: part.sha256 for part in parts} | {r.name: r.sha256 for r in written}
    return {
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model_version": model.version,
        "model_digest": model.digest,
        "num_labelled": sum(pictures.values()),
        "last_run": asdict(summary),
        "parts": {name: {"pictures": pictures[name], "sha256": hashes[name]} for name in sorted(pictures)},
    }
