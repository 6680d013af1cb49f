"""The model that ``clickpose annotate`` starts with."""

from dataclasses import replace
from pathlib import Path

import pytest

from clickpose.checkpoints.model_folder import load_model
from clickpose.commands.annotate.first_model import serve_first_model
from clickpose.errors import InvalidConfig
from clickpose.skeleton import Skeleton
from pipeline.registry import Registry
from pipeline.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def own(tiny_model: Path) -> Skeleton:
    return load_model(tiny_model).skeleton


@pytest.fixture
def larger(own: Skeleton) -> Skeleton:
    """The model's own keypoints and one more."""
    names = (*own.keypoints, "tail")
    return replace(own, name="larger", keypoints=names, sigmas=(*own.sigmas, 0.1), parents={"tail": own.keypoints[0]})


def test_a_store_begins_with_the_given_model_and_then_keeps_its_own(store: Store, tiny_model: Path, own) -> None:
    assert serve_first_model(store, tiny_model, None) == own
    current = Registry(store).current()
    assert serve_first_model(store, Path("no-such-model"), own) == own
    assert Registry(store).versions() == [current]


def test_a_model_is_grown_for_other_keypoints(store: Store, tiny_model: Path, larger: Skeleton) -> None:
    assert serve_first_model(store, tiny_model, larger) == larger
    registry = Registry(store)
    model = load_model(registry.fetch(registry.current()))
    assert model.skeleton == larger and model.network.config.num_keypoints == len(larger)


def test_a_store_that_began_with_other_keypoints_is_refused(store: Store, tiny_model: Path, larger: Skeleton) -> None:
    serve_first_model(store, tiny_model, None)
    with pytest.raises(InvalidConfig, match="not 'larger': choose another --data"):
        serve_first_model(store, tiny_model, larger)
