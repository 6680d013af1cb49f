"""Label one shard of images: decode, predict, and record errors with the image that caused them."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import torch
from PIL import Image, ImageOps

from clickpose.annotations import Pose
from clickpose.errors import ClickPoseError, InvalidModel
from pipeline.breadcrumbs import Breadcrumbs
from pipeline.image_files import read_image_at
from pipeline.labelling_model import model_digest
from pipeline.listing import ListedImage
from pipeline.prelabelled import Failure, Model, Prelabel, Shard
from pipeline.shards import write_shard
from pipeline.stability import mirror_difference, movement
from pipeline.store import Store, local_folder

logger = logging.getLogger(__name__)
MAX_REASON_LENGTH = 500
MAX_BATCH, MAX_BATCH_PIXELS = 8, 50_000_000  # images in one batch
NUM_READERS, AHEAD = 2, 4  # threads, and images that wait for the model


class Detector(Protocol):
    """The part of ``clickpose.predictor.Predictor`` that labelling needs."""

    def encode_all(self, images: Sequence[Image.Image]) -> Sequence[Any]:
        """Encode RGB images."""
        ...

    def detect(self, encoded: Any) -> list[Pose]:
        """Find every person, best first."""
        ...

    def look_again(self, encoded: Any, poses: Sequence[Pose]) -> list[Pose]:
        """Let all persons answer once more, without a click."""
        ...

    def expected_clicks(self, encoded: Any, poses: Sequence[Pose]) -> float:
        """Return the expected number of clicks to correct an image."""
        ...

    def appearance(self, encoded: Any, poses: Sequence[Pose]) -> tuple[float, ...]:
        """Return what the persons look like, in a few numbers."""
        ...


LoadPredictor = Callable[[Model], Detector]


@dataclass(frozen=True)
class ShardResult:
    """A worker's result for a shard: the number of labelled images, and those that failed."""

    name: str
    num_labelled: int
    failures: tuple[Failure, ...]

    def to_row(self) -> dict[str, Any]:
        """Return plain values, as a row of Ray Data."""
        failures = json.dumps([(failure.image, failure.reason) for failure in self.failures])
        return {"name": self.name, "num_labelled": self.num_labelled, "failures": failures}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> ShardResult:
        """Read a result back from its row."""
        failures = tuple(Failure(ListedImage(*image), reason) for image, reason in json.loads(row["failures"]))
        return cls(row["name"], int(row["num_labelled"]), failures)


def shard_to_row(shard: Shard) -> dict[str, Any]:
    """Return a shard as a row of Ray Data."""
    return {"name": shard.name, "images": json.dumps(shard.images)}


def shard_from_row(row: dict[str, Any]) -> Shard:
    """Read a shard back from its row."""
    return Shard(row["name"], tuple(ListedImage(*values) for values in json.loads(row["images"])))


class Labeller:
    """Labels shards: the host of a predictor, as a plain class or as a Ray Data actor."""

    def __init__(self, model: Model, out: str, load: LoadPredictor, *, mirror: bool = False) -> None:
        self.model, self.store, self.mirror = model, Store(out), mirror
        self.predictor = load(model)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Label a shard given as a row of Ray Data, and return its result as one."""
        return self.label(shard_from_row(row)).to_row()

    def label(self, shard: Shard) -> ShardResult:
        """Label every image of a shard and write its rows."""
        with Breadcrumbs(self.store, shard.name) as crumbs:
            if crumbs.is_careful:
                outcomes = [self._label_carefully(image, crumbs) for image in shard.images]
            else:
                outcomes = [outcome for batch in _batches(shard.images) for outcome in self._label_batch(batch)]
            prelabels = [outcome for outcome in outcomes if isinstance(outcome, Prelabel)]
            if prelabels:
                write_shard(self.store, shard.name, prelabels, self.model)
        failures = tuple(outcome for outcome in outcomes if isinstance(outcome, Failure))
        return ShardResult(shard.name, len(prelabels), failures)

    def _label_carefully(self, image: ListedImage, crumbs: Breadcrumbs) -> Prelabel | Failure:
        """Label one image, after noting that it may be the one that crashes the worker."""
        if image.uri in crumbs.blamed:
            reason = "was being labelled when a worker process crashed, and again when the next one did"
            return Failure(image, f"{image.uri} {reason}")
        crumbs.reach(image.uri)
        return self._label_batch([_read(image)])[0]

    def _label_batch(self, batch: Sequence[Opened]) -> list[Prelabel | Failure]:
        """Label images together; if that fails, one by one, so that only the image that caused the error fails."""
        readable = [opened for opened in batch if opened.image is not None]
        try:
            found = self._look(readable) if len(readable) > 1 else []
        except torch.AcceleratorError:
            raise  # the device is lost to this process: all later images would fail for the same reason
        except Exception as error:
            logger.warning("%d images cannot be looked at together, so one by one: %s", len(readable), error)
            found = []
        labelled = dict(zip((opened.listed.uri for opened in readable), found, strict=False))
        return [labelled.get(opened.listed.uri) or self._label_alone(opened) for opened in batch]

    def _label_alone(self, opened: Opened) -> Prelabel | Failure:
        if opened.image is None:
            return Failure(opened.listed, opened.reason)
        try:
            return self._look([opened])[0]
        except torch.AcceleratorError:
            raise
        except Exception as error:
            reason = f"{opened.listed.uri} cannot be labelled: {type(error).__name__}: {error}"
            return Failure(opened.listed, reason[:MAX_REASON_LENGTH])

    def _look(self, batch: Sequence[Opened]) -> list[Prelabel]:
        images = [opened.image for opened in batch if opened.image is not None]
        found = [
            self._prelabel(opened.listed, image.size, encoded)
            for opened, image, encoded in zip(batch, images, self.predictor.encode_all(images), strict=True)
        ]
        return self._compare_mirrored(found, images) if self.mirror else found

    def _prelabel(self, image: ListedImage, size_wh: tuple[int, int], encoded: Any) -> Prelabel:
        poses = self.predictor.detect(encoded)
        expected = self.predictor.expected_clicks(encoded, poses)
        moved = movement(poses, self.predictor.look_again(encoded, poses))
        return Prelabel(
            image,
            size_wh,
            tuple(poses),
            self.model.version,
            expected,
            moved,
            appearance=self.predictor.appearance(encoded, poses),
        )

    def _compare_mirrored(self, found: Sequence[Prelabel], images: Sequence[Image.Image]) -> list[Prelabel]:
        encoded = self.predictor.encode_all([ImageOps.mirror(image) for image in images])
        mirrored, skeleton = [self.predictor.detect(one) for one in encoded], self.model.skeleton
        return [
            replace(one, mirror_difference=mirror_difference(one.poses, others, one.size_wh[0], skeleton))
            for one, others in zip(found, mirrored, strict=True)
        ]


@dataclass(frozen=True)
class Opened:
    """An image that was read, or the reason why it could not be."""

    listed: ListedImage
    image: Image.Image | None
    reason: str = ""


def _read(image: ListedImage) -> Opened:
    try:
        return Opened(image, read_image_at(image.uri))
    except ClickPoseError as error:
        return Opened(image, None, str(error)[:MAX_REASON_LENGTH])
    except Exception as error:
        reason = f"{image.uri} cannot be read: {type(error).__name__}: {error}"
        return Opened(image, None, reason[:MAX_REASON_LENGTH])


def _batches(images: Sequence[ListedImage]) -> Iterator[list[Opened]]:
    """Yield images in batches of a certain number of pixels; threads read ahead while a model is busy."""
    batch, num_pixels = list[Opened](), 0
    for opened in _read_ahead(images):
        batch.append(opened)
        num_pixels += opened.image.width * opened.image.height if opened.image else 0
        if len(batch) == MAX_BATCH or num_pixels > MAX_BATCH_PIXELS:
            yield batch
            batch, num_pixels = [], 0
    if batch:
        yield batch


def _read_ahead(images: Sequence[ListedImage]) -> Iterator[Opened]:
    remaining = iter(images)
    with ThreadPoolExecutor(NUM_READERS) as pool:
        coming = deque(pool.submit(_read, image) for image in islice(remaining, AHEAD))
        while coming:
            yield coming.popleft().result()
            coming.extend(pool.submit(_read, image) for image in islice(remaining, 1))


def load_predictor(model: Model) -> Detector:
    """Load a model on the best device of this worker.

    Raises:
        InvalidModel: the folder cannot be loaded, or is not the one that the run started with.
    """
    from clickpose.predictor import Predictor
    from clickpose.training.cpu import keep_large_buffers

    keep_large_buffers()  # page faults took a quarter of the demo model's time
    folder = local_folder(model.folder)
    if model_digest(folder) != model.digest:
        raise InvalidModel(f"{folder} is not the {model.version} that this run began with")
    predictor: Detector = Predictor.load(folder, device="auto", version=model.version)
    return predictor
