"""Label one shard of pictures: decode and model in one place, and trouble kept beside the picture that makes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from PIL import Image

from clickpose.annotations import Pose
from clickpose.errors import ClickPoseError, InvalidModel
from pipeline.breadcrumbs import Breadcrumbs
from pipeline.pictures import read_picture
from pipeline.registry import folder_digest
from pipeline.shards import Failure, Model, Prelabel, Shard, write_part
from pipeline.store import Store, local_folder

MAX_REASON_LENGTH = 500


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
    """What a worker tells about a shard: how many pictures its part holds, the part's SHA-256, and which failed."""

    name: str
    num_labelled: int
    sha256: str
    failures: tuple[Failure, ...]

    def to_row(self) -> dict[str, Any]:
        """Return plain values, which travel as a row of Ray Data."""
        return asdict(self) | {"failures": json.dumps([asdict(failure) for failure in self.failures])}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> ShardResult:
        """Read a result back from its row."""
        failures = tuple(Failure(**values) for values in json.loads(row["failures"]))
        return cls(row["name"], int(row["num_labelled"]), row["sha256"], failures)


class Labeller:
    """Labels shards: the host of a predictor, as a plain class or as a Ray Data actor."""

    def __init__(self, model: Model, out: str, load: LoadPredictor) -> None:
        self.model, self.store = model, Store(out)
        self.predictor = load(model)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Label a shard given as a row of Ray Data, and return its result as one."""
        return self.label(Shard(row["name"], tuple(row["uris"]))).to_row()

    def label(self, shard: Shard) -> ShardResult:
        """Label every picture of a shard and write its part."""
        with Breadcrumbs(self.store, shard.name) as crumbs:
            outcomes = [self._label_picture(uri, crumbs) for uri in shard.uris]
            prelabels = [outcome for outcome in outcomes if isinstance(outcome, Prelabel)]
            sha256 = write_part(self.store, shard.name, prelabels, self.model) if prelabels else ""
        failures = tuple(outcome for outcome in outcomes if isinstance(outcome, Failure))
        return ShardResult(shard.name, len(prelabels), sha256, failures)

    def _label_picture(self, uri: str, crumbs: Breadcrumbs) -> Prelabel | Failure:
        if uri in crumbs.blamed:
            return Failure(uri, f"{uri} was being labelled when a worker process died, and again when the next one did")
        crumbs.reach(uri)
        try:
            image = read_picture(uri)
            poses = self.predictor.detect(self.predictor.encode(image))
        except ClickPoseError as error:
            return Failure(uri, str(error)[:MAX_REASON_LENGTH])
        except torch.AcceleratorError:
            raise  # the device is lost to this process: every later picture would fail for the same reason
        except Exception as error:
            return Failure(uri, f"{uri} cannot be labelled: {type(error).__name__}: {error}"[:MAX_REASON_LENGTH])
        return Prelabel(uri, image.size, tuple(poses), self.model.version)


def load_predictor(model: Model) -> Detector:
    """Load a model on the best device of this worker.

    Raises:
        InvalidModel: the folder cannot be loaded, or is not the one that the run began with.
    """
    from clickpose.predictor import Predictor

    folder = local_folder(model.folder)
    if folder_digest(folder) != model.digest:
        raise InvalidModel(f"{folder} is not the {model.version} that this run began with")
    predictor: Detector = Predictor.load(folder, device="auto", version=model.version)
    return predictor
