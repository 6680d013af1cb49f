"""Evaluate a model on Ray workers: each measures a share of the images; together they say what one process would."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

from clickpose.annotations import AnnotationSet
from clickpose.errors import ClickPoseError
from clickpose.evaluation.overlays import OverlayMeter
from clickpose.evaluation.report import DataSetMeters, Simulation
from clickpose.evaluation.stopwatch import Stopwatch
from clickpose.evaluation.visits import Visit, visit_images
from clickpose.predictor import Predictor
from pipeline.cluster import connect, gpus_of_worker
from pipeline.dataset import ImageFolder
from pipeline.store import local_folder

MAX_CRASHES = 3
SHARES_PER_WORKER = 4  # so that a slow image delays little, and a crash loses little

Advance: TypeAlias = Callable[[int], object]


@dataclass(frozen=True)
class EvaluationJob:
    """The task of every worker.

    Attributes:
        model: folder or URI, that every worker can read.
        images: folder or URI of the images.
        simulations: simulated annotators by name.
        shown: ids of the images that are drawn after clicks.
        device: "auto" uses a GPU if there is one.
        gpus: of each worker; None for one if the cluster has any or could start some, and the device is not the CPU.
    """

    model: str
    images: str
    simulations: Mapping[str, Simulation]
    shown: Collection[int] = ()
    device: str = "auto"
    gpus: float | None = None

    def load_predictor(self) -> Predictor:
        """Load the model; InvalidModel if it cannot be loaded."""
        return Predictor.load(local_folder(self.model), self.device)


class Measured:
    """What is measured on some images: numbers, images after clicks, and seconds by call, of all workers together."""

    def __init__(self, predictor: Predictor, job: EvaluationJob) -> None:
        """Prepare for no image."""
        first = next(iter(job.simulations.values()))
        self.numbers = DataSetMeters(predictor, job.simulations)
        self.overlays = OverlayMeter(predictor, job.shown, first.max_clicks, first.rounds)
        self.seconds: dict[str, float] = {}

    def visit(self, visit: Visit) -> None:
        """Add one image."""
        self.numbers.visit(visit)
        self.overlays.visit(visit)

    def absorb(self, other: Measured) -> Measured:
        """Add the images of another worker behind our own, and return all."""
        self.numbers.absorb(other.numbers)
        self.overlays.absorb(other.overlays)
        for name, seconds in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        return self


def measure(
    job: EvaluationJob, predictor: Predictor, annotations: AnnotationSet, advance: Advance = lambda count: None
) -> Measured:
    """Measure images in this process; ``advance`` is called with 1 after each."""
    measured, watch = Measured(predictor, job), Stopwatch()

    def tell(done: int, total: int) -> None:
        advance(1)

    visit_images(watch.on(predictor), annotations, ImageFolder(job.images), [measured], tell)
    measured.seconds = watch.read()
    return measured


class Worker:
    """Measures shares; Ray makes an actor of it, which loads the model once."""

    def __init__(self, job: EvaluationJob) -> None:
        """Load the model."""
        self.job, self.predictor = job, job.load_predictor()

    def measure(self, share: AnnotationSet) -> Measured:
        """Measure a share."""
        return measure(self.job, self.predictor, share)


def measure_on_workers(job: EvaluationJob, annotations: AnnotationSet, num_workers: int, advance: Advance) -> Measured:
    """Measure images on Ray workers; ``advance`` is called with the number of images of each finished share.

    A worker that crashes is started again, on another machine if its own is gone, and repeats its share.

    Raises:
        ClickPoseError: a share failed; the message holds its error.
    """
    import ray
    from ray.util import ActorPool

    connect()
    gpus = 0 if job.device == "cpu" else gpus_of_worker(job.gpus)
    actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=MAX_CRASHES, max_task_retries=MAX_CRASHES)(Worker)
    pool = ActorPool([actor.remote(job) for _ in range(num_workers)])
    shares = split(annotations, num_workers * SHARES_PER_WORKER)
    joined: Measured | None = None
    try:
        for share, measured in zip(
            shares, pool.map(lambda worker, one: worker.measure.remote(one), shares), strict=True
        ):
            advance(len(share))
            joined = joined.absorb(measured) if joined else measured
    except ray.exceptions.RayError as error:
        raise ClickPoseError(f"evaluation failed: {str(error).strip().splitlines()[-1]}") from error
    assert joined is not None  # there is always a share
    return joined


def split(annotations: AnnotationSet, num_shares: int) -> list[AnnotationSet]:
    """Split a data set into runs of images, in order, about equally long; none is empty unless all are."""
    size = max(1, -(-len(annotations) // num_shares))
    starts = range(0, len(annotations), size) or range(1)
    return [replace(annotations, images=annotations.images[start : start + size]) for start in starts]
