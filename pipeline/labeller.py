"""Label one shard of pictures: decode and model in one place, and trouble kept beside the picture that makes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import urlsplit

import torch
from PIL import Image

from clickpose.annotations import Pose
from clickpose.errors import ClickPoseError, InvalidModel, InvalidSkeleton
from clickpose.skeleton import Skeleton
from pipeline.breadcrumbs import Breadcrumbs
from pipeline.listing import Picture
from pipeline.pictures import read_picture
from pipeline.shards import Failure, Model, Prelabel, Shard, write_shard
from pipeline.store import Store, local_folder

MAX_REASON_LENGTH = 500
COMPUTES_WITH = ("config.json", "skeleton.json", "weights.safetensors")


class Detector(Protocol):
    """What labelling asks of ``clickpose.predictor.Predictor``."""

    def encode(self, image: Image.Image) -> Any:
        """Encode an RGB picture."""
        ...

    def detect(self, encoded: Any) -> list[Pose]:
        """Find every person, best first."""
        ...


LoadPredictor = Callable[[Model], Detector]


@dataclass(frozen=True)
class ShardResult:
    """What a worker tells about a shard: how many pictures are labelled, and which failed."""

    name: str
    num_labelled: int
    failures: tuple[Failure, ...]

    def to_row(self) -> dict[str, Any]:
        """Return plain values, which travel as a row of Ray Data."""
        failures = json.dumps([(failure.picture, failure.reason) for failure in self.failures])
        return {"name": self.name, "num_labelled": self.num_labelled, "failures": failures}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> ShardResult:
        """Read a result back from its row."""
        failures = tuple(Failure(Picture(*picture), reason) for picture, reason in json.loads(row["failures"]))
        return cls(row["name"], int(row["num_labelled"]), failures)


def shard_to_row(shard: Shard) -> dict[str, Any]:
    """Return a shard as a row of Ray Data."""
    return {"name": shard.name, "pictures": json.dumps(shard.pictures)}


def shard_from_row(row: dict[str, Any]) -> Shard:
    """Read a shard back from its row."""
    return Shard(row["name"], tuple(Picture(*values) for values in json.loads(row["pictures"])))


class Labeller:
    """Labels shards: the host of a predictor, as a plain class or as a Ray Data actor."""

    def __init__(self, model: Model, out: str, load: LoadPredictor) -> None:
        self.model, self.store = model, Store(out)
        self.predictor = load(model)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Label a shard given as a row of Ray Data, and return its result as one."""
        return self.label(shard_from_row(row)).to_row()

    def label(self, shard: Shard) -> ShardResult:
        """Label every picture of a shard and write its part."""
        with Breadcrumbs(self.store, shard.name) as crumbs:
            outcomes = [self._label_picture(picture, crumbs) for picture in shard.pictures]
            prelabels = [outcome for outcome in outcomes if isinstance(outcome, Prelabel)]
            if prelabels:
                write_shard(self.store, shard.name, prelabels, self.model)
        failures = tuple(outcome for outcome in outcomes if isinstance(outcome, Failure))
        return ShardResult(shard.name, len(prelabels), failures)

    def _label_picture(self, picture: Picture, crumbs: Breadcrumbs) -> Prelabel | Failure:
        uri = picture.uri
        if uri in crumbs.blamed:
            reason = f"{uri} was being labelled when a worker process died, and again when the next one did"
            return Failure(picture, reason)
        crumbs.reach(uri)
        try:
            image = read_picture(uri)
            poses = self.predictor.detect(self.predictor.encode(image))
        except ClickPoseError as error:
            return Failure(picture, str(error)[:MAX_REASON_LENGTH])
        except torch.AcceleratorError:
            raise  # the device is lost to this process: every later picture would fail for the same reason
        except Exception as error:
            return Failure(picture, f"{uri} cannot be labelled: {type(error).__name__}: {error}"[:MAX_REASON_LENGTH])
        return Prelabel(picture, image.size, tuple(poses), self.model.version)


def describe_model(folder: str | Path) -> Model:
    """Describe the model in a folder or URI: it is called by the last part, and known by its content.

    Raises:
        InvalidModel: there is no skeleton in it.
        StoreError: there is no such folder.
    """
    uri = str(folder) if "://" in str(folder) else str(Path(folder).absolute())
    local = local_folder(uri)
    try:
        skeleton = Skeleton.load(local / "skeleton.json")
    except InvalidSkeleton as error:
        raise InvalidModel(f"{folder} is no model folder: {error}") from error
    version = PurePosixPath(urlsplit(uri).path if "://" in uri else uri).name
    return Model(version, uri, model_digest(local), skeleton)


def model_digest(folder: Path) -> str:
    """Hash the files that a model computes with, and not its card or its name."""
    files = [folder / name for name in COMPUTES_WITH if (folder / name).is_file()]
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def load_predictor(model: Model) -> Detector:
    """Load a model on the best device of this worker.

    Raises:
        InvalidModel: the folder cannot be loaded, or is not the one that the run began with.
    """
    from clickpose.predictor import Predictor

    folder = local_folder(model.folder)
    if model_digest(folder) != model.digest:
        raise InvalidModel(f"{folder} is not the {model.version} that this run began with")
    predictor: Detector = Predictor.load(folder, device="auto", version=model.version)
    return predictor
