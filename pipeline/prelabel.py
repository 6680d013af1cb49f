"""Label millions of images: Ray Data distributes shards, actors label them, and another run resumes.

Every image ends up labelled once or listed with the reason. Only names and counts are sent between processes: actors
read the images and write the poses. The driver keeps a few bytes per image, and the failures.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clickpose.errors import ClickPoseError, InvalidConfig
from pipeline.breadcrumbs import sweep
from pipeline.inventory import Inventory, SortedOut
from pipeline.label_shards import Job, label_shards
from pipeline.labeller import LoadPredictor, load_predictor
from pipeline.labelling_model import describe_model
from pipeline.lease import lease
from pipeline.listing import ListedImage
from pipeline.planning import Listing, list_to_disk, plan_shards
from pipeline.prelabel_summary import PrelabelSummary
from pipeline.prelabelled import Failure, Shard
from pipeline.progress import Advance, progress
from pipeline.roots import read_roots, remember_root, root_exists
from pipeline.shards import (
    FAILED,
    MANIFEST,
    delete_prelabels,
    drop_halves,
    read_failures,
    read_images,
    read_prelabels,
    refuse_old,
    refuse_others,
    shard_names,
    write_failures,
)
from pipeline.store import Store

__all__ = ["PrelabelOptions", "PrelabelSummary", "count_missing", "prelabel", "read_failures", "read_prelabels"]


@dataclass(frozen=True)
class PrelabelOptions:
    """Settings of a run.

    Attributes:
        shard_size: images per shard at most; a crash loses at most one shard per worker.
        num_workers: actors; None for as many as fit, 0 for this process without Ray.
        gpus_per_worker: None for one if the cluster has any or could start some.
        limit: maximum number of images to label.
        retry_failed: retry images that failed before, even if they have not changed.
        max_failed: share of images that may fail; a run stops when more must fail.
        fresh: delete the results of earlier runs in the folder.
        mirror: also predict the mirrored image, and record how far poses differ; takes twice the time.
    """

    shard_size: int = 64
    num_workers: int | None = None
    gpus_per_worker: float | None = None
    limit: int | None = None
    retry_failed: bool = False
    max_failed: float = 1.0
    fresh: bool = False
    mirror: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.shard_size < 1 or (self.num_workers or 0) < 0:
            raise InvalidConfig(
                f"shard_size {self.shard_size} must be at least 1 and num_workers {self.num_workers} at least 0"
            )
        if (self.limit or 0) < 0 or not 0 <= self.max_failed <= 1:
            raise InvalidConfig(f"limit {self.limit} must be at least 0 and max_failed {self.max_failed} in 0..1")


def prelabel(
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    model_folder: str | Path,
    options: PrelabelOptions | None = None,
    *,
    load: LoadPredictor = load_predictor,
) -> PrelabelSummary:
    """Label every image that is not in ``out`` yet.

    Args:
        images: folder, pattern, list or file of images; see ``list_images``.
        out: the folder or URI of the pre-labels, e.g. ``<store>/prelabels/<run>``; one model each.
        model_folder: path or URI of the model. Its last name is the version.
        options: None stands for the defaults.
        load: makes the predictor inside a worker.

    Raises:
        ImageError: there are no images.
        StoreInUse: another process labels into ``out``.
        StoreError: ``out`` has the pre-labels of another model, or cannot be written.
        ClickPoseError: the workers cannot start, or more failed than allowed; the message says why.
    """
    began, options = time.monotonic(), options or PrelabelOptions()
    store, model = Store(out), describe_model(model_folder)
    refuse_others(store)
    with list_to_disk(images) as listing, lease(store, "pre-labelling") as check_lease:
        if options.fresh:
            delete_prelabels(store)
        run = _Run(listing, Job(model, store.uri, load, options.mirror, options.gpus_per_worker), options)
        remember_root(store, listing.root)
        drop_halves(store)
        sweep(store)
        run.label()
        check_lease()
        sweep(store)
        run.finish(began)
    summary = run.summary
    if run.is_hopeless:
        failed = f"{summary.num_failed} of {summary.num_images} images failed"
        raise ClickPoseError(
            f"{failed}, more than the {options.max_failed:.0%} allowed: see {store.uri_of(FAILED)}. One of them:"
            f" {read_failures(store.uri)[-1].reason}"
        )
    return summary


def count_missing(
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    model_folder: str | Path,
    options: PrelabelOptions | None = None,
) -> PrelabelSummary:
    """Count what ``prelabel`` would do, and write nothing: ``num_left`` is what it would label, without a limit.

    Raises:
        ImageError: there are no images.
        StoreError: ``out`` has the pre-labels of another model, or files of others.
    """
    job = Job(describe_model(model_folder), Store(out).uri, load_predictor)
    refuse_others(Store(out))
    with list_to_disk(images) as listing:
        run = _Run(listing, job, options or PrelabelOptions())
        for _ in run.sorted_out():
            pass
    return run.summary


class _Run:
    """One run over a listing: all images, those labelled, and those that failed."""

    def __init__(self, listing: Listing, job: Job, options: PrelabelOptions) -> None:
        self.listing, self.job, self.options, self.store = listing, job, options, Store(job.out)
        self.failures: list[Failure] = []
        self.summary = PrelabelSummary(job.out, job.model.version)
        self.roots = read_roots(self.store, listing.root)
        others = (root for root in self.roots if root != listing.root)
        self.inventory = Inventory(self.store, may_move=not any(map(root_exists, others)))
        if not options.fresh:
            refuse_old(self.store)
            self.inventory.read(job.model, read_failures(job.out) if self.store.exists(FAILED) else [])

    @property
    def is_hopeless(self) -> bool:
        """Whether more failed than allowed, even if all others succeed."""
        return self.summary.num_failed > self.options.max_failed * self.listing.num_images

    def sorted_out(self) -> Iterator[SortedOut]:
        """Yield the images of each chunk of the listing that are to be labelled, and count them as left."""
        summary = self.summary
        for chunk in self.listing.chunks(self.roots):
            found = self.inventory.sort_out(chunk, retry_failed=self.options.retry_failed)
            self.failures += map(_clash, found.clashing)
            summary.num_images += len(found) - found.num_doubled
            summary.num_kept += found.num_kept
            summary.num_failed += found.num_failed + len(found.clashing)
            summary.num_left += len(found.missing)
            yield found

    def label(self) -> None:
        """Label missing images, up to the limit, until too many fail."""
        num_shards, remaining = 0, self.options.limit
        with progress(f"labelling with {self.job.model.version}", self.listing.num_images) as advance:
            for found in self.sorted_out():
                advance(0, found.num_failed + len(found.clashing), skipped=len(found) - len(found.missing))
                chosen = found.missing[:remaining]
                remaining = None if remaining is None else remaining - len(chosen)
                shards = plan_shards(chosen, self.job.model, self.options.shard_size, num_shards)
                num_shards += len(shards)
                self.inventory.plan(chosen)
                self._label(shards, advance)
                if self.is_hopeless:
                    remaining = 0  # what follows is only counted
        self.inventory.drop_replaced()

    def finish(self, began: float) -> None:
        """Write the outcome of every image."""
        self.summary.seconds = round(time.monotonic() - began, 3)
        failed = {failure.uri: failure for failure in (*self.inventory.failures_elsewhere(), *self.failures)}
        write_failures(self.store, list(failed.values()))
        self.store.write_json(MANIFEST, self._manifest())

    def _label(self, shards: Sequence[Shard], advance: Advance) -> None:
        tried = 0
        for result in label_shards(shards, self.job, self.options.num_workers):
            count = result.num_labelled + len(result.failures)
            self._book(result.num_labelled, result.failures)
            advance(count, len(result.failures))
            tried += count
            if self.is_hopeless:
                return
        if tried < sum(len(shard.images) for shard in shards):
            self._book(0, self._lost(shards))

    def _book(self, num_labelled: int, failures: Sequence[Failure]) -> None:
        self.failures += failures
        self.summary.num_labelled += num_labelled
        self.summary.num_failed += len(failures)
        self.summary.num_left -= num_labelled + len(failures)

    def _lost(self, shards: Sequence[Shard]) -> list[Failure]:
        """Return the images that are neither labelled nor reported as failed; the next run retries them."""
        written = set(shard_names(self.store)).intersection(shard.name for shard in shards)
        known = {image.uri for _, _, images in read_images(self.store, sorted(written)) for image in images}
        known.update(failure.uri for failure in self.failures)
        lost = (image for shard in shards for image in shard.images if image.uri not in known)
        return [_to_try_again(image, "never came back from its worker; run again") for image in lost]

    def _manifest(self) -> dict[str, Any]:
        left_out = self.listing.left_out
        return {
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "model_version": self.job.model.version,
            "model_digest": self.job.model.digest,
            "num_shards": len(shard_names(self.store)),
            "last_run": asdict(self.summary),
            "left_out": dict(left_out.counts),
            "left_out_examples": left_out.examples,
        }


def _clash(image: ListedImage) -> Failure:
    """Return the failure of an image whose name another one has."""
    return _to_try_again(image, f"is not the {image.name} that is labelled here: label it into another folder")


def _to_try_again(image: ListedImage, reason: str) -> Failure:
    """Return a failure that is no reason to leave the image out of the next run."""
    return Failure(image._replace(num_bytes=None, modified_ns=None), f"{image.uri} {reason}")
