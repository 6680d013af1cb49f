"""The model that a data folder starts with: the given one, or one that is grown from it for other keypoints."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from clickpose.errors import InvalidConfig
from clickpose.skeleton import Skeleton
from integrations.store import MODELS
from pipeline.registry import Registry
from pipeline.store import Store


def serve_first_model(store: Store, model: Path, wanted: Skeleton | None) -> Skeleton:
    """Promote a first model if the store has none; return the skeleton of the model in service.

    Args:
        store: of the data folder.
        model: folder of the model to start with.
        wanted: keypoints to annotate; None takes the model's own.

    Raises:
        InvalidConfig: the model in service has other keypoints than those wanted.
        ClickPoseError: the model cannot be read or grown.
    """
    registry = Registry(store)
    current = registry.current()
    if current is None:
        current = _add(registry, model, wanted)
        registry.promote(current)
    skeleton = Skeleton.from_dict(store.read_json(f"{MODELS}/{current}/skeleton.json"))
    if wanted is not None and wanted != skeleton:
        raise InvalidConfig(
            f"{store.uri} was started with skeleton {skeleton.name!r}, not {wanted.name!r}: choose another --data"
        )
    return skeleton


def _add(registry: Registry, model: Path, wanted: Skeleton | None) -> str:
    if wanted is None:
        return registry.add(model)
    from clickpose.checkpoints.files import skeleton_of
    from clickpose.commands.train import grow_model

    if skeleton_of(model) == wanted:
        return registry.add(model)
    with TemporaryDirectory() as folder:
        return registry.add(grow_model(Path(folder) / "grown", model, wanted))
