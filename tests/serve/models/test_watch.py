"""A service follows its store's current model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clickpose.errors import InvalidModel, NotReady, StoreError
from clickpose.skeleton import Skeleton
from pipeline.labelling_model import describe_model
from serve.models.smoke_test import load_and_test
from serve.models.source import ModelSource
from serve.models.watch import ModelWatch

Load = Callable[[Path, str], Any]
WriteModel = Callable[..., Path]
PointTo = Callable[[Path, str], None]


@pytest.fixture
def store(tmp_path: Path, write_model: WriteModel, point_to: PointTo) -> Path:
    """A store with the models v1 (current), v2, and two that cannot be served."""
    for version in ("v1", "v2"):
        write_model(tmp_path / "models" / version)
    write_model(tmp_path / "models" / "broken", weights="broken")
    write_model(tmp_path / "models" / "other", skeleton=Skeleton("two", ("a", "b"), (0.1, 0.1)))
    point_to(tmp_path, "v1")
    return tmp_path


def test_the_pointer_contains_the_version(store: Path, skeleton: Skeleton) -> None:
    source = ModelSource(store=str(store))
    assert source.wanted_version() == "v1"
    assert source.read_skeleton("v1") == skeleton
    with source.local_folder("v1") as folder:
        assert folder == store / "models" / "v1"


def test_a_store_can_be_given_as_a_uri(store: Path) -> None:
    source = ModelSource(store=f"file://{store}")
    assert source.wanted_version() == "v1"
    with source.local_folder("v1") as folder:
        assert (folder / "skeleton.json").is_file()


def test_the_version_of_a_folder_is_its_name(store: Path, skeleton: Skeleton) -> None:
    source = ModelSource(folder=str(store / "models" / "v2"))
    assert source.wanted_version() == "v2"
    assert source.read_skeleton("v2") == skeleton


@pytest.mark.parametrize("content", ["", "../v1", "/etc", "two words", "x" * 5000, "\xff"])
def test_a_pointer_without_a_valid_version_is_rejected(store: Path, content: str) -> None:
    (store / "models" / "current").write_text(content, encoding="latin-1")
    with pytest.raises(StoreError, match="does not contain a valid version"):
        ModelSource(store=str(store)).wanted_version()


def test_errors_name_what_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"models/current does not exist"):
        ModelSource(store=str(tmp_path)).wanted_version()
    with pytest.raises(StoreError, match=r"skeleton\.json does not exist"):
        ModelSource(folder=str(tmp_path)).read_skeleton("v1")


def watch(store: Path, skeleton: Skeleton, load: Load) -> ModelWatch:
    return ModelWatch(ModelSource(store=str(store)), skeleton, load)


def test_a_promotion_replaces_the_model(store: Path, skeleton: Skeleton, load_fake: Load, point_to: PointTo) -> None:
    async def story() -> None:
        models, swaps = watch(store, skeleton, load_fake), []
        models.on_swap = swaps.append
        for version in ("v1", "v1", "v2", "v1"):
            point_to(store, version)
            await models.follow()
            assert (await models.model(0)).version == models.version == version
        assert swaps == ["v1", "v2", "v1"]

    asyncio.run(story())


@pytest.mark.parametrize(("version", "why"), [("broken", "is broken"), ("other", "keypoints of 'two'")])
def test_a_model_that_cannot_be_served_is_loaded_only_once(
    store: Path, skeleton: Skeleton, load_fake: Load, point_to: PointTo, version: str, why: str
) -> None:
    tried: list[str] = []

    def load(folder: Path, wanted: str) -> Any:
        tried.append(wanted)
        return load_fake(folder, wanted)

    async def story() -> None:
        models = watch(store, skeleton, load)
        for wanted in ("v1", version, version):
            point_to(store, wanted)
            await models.follow()
        assert (models.version, models.refused) == ("v1", version)
        assert why in models.problem
        assert tried == ["v1", version]
        point_to(store, "v2")
        await models.follow()
        assert (models.version, models.refused, models.problem) == ("v2", None, "")

    asyncio.run(story())


def test_a_replica_that_starts_while_the_promoted_model_is_broken_serves_the_previous_one(
    store: Path, skeleton: Skeleton, load_fake: Load, point_to: PointTo, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        for wanted in ("v2", "other", "broken"):
            point_to(store, wanted)
        models = watch(store, skeleton, load_fake)
        for _ in range(2):
            await models.follow()
            assert (models.version, models.refused) == ("v2", "broken")
            assert "broken" in models.problem
        assert "model other cannot be served instead of broken" in caplog.text

    asyncio.run(story())


@pytest.mark.parametrize("history", [None, "no JSON", "{}", '[{"line": []}]', '[{"line": ["../v1", "broken"]}]'])
def test_without_a_valid_history_there_is_no_previous_model(
    store: Path, history: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    (store / "models" / "history.json").unlink()
    if history is not None:
        (store / "models" / "history.json").write_text(history)
    assert ModelSource(store=str(store)).versions_before("broken") == []
    is_readable = history is not None and history.endswith(("{}", '"broken"]}]'))
    assert ("does not tell which models came before broken" in caplog.text) is not is_readable


@pytest.mark.parametrize("here", [".", "../v1/", "./"])
def test_a_folder_has_its_own_name_however_it_is_written(
    store: Path, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store / "models" / "v1")
    source = ModelSource(folder=here)
    assert source.wanted_version() == describe_model(here).version == "v1"
    assert source.read_skeleton("v1") == describe_model(here).skeleton


def test_an_unreachable_store_is_tried_again(store: Path, skeleton: Skeleton, load_fake: Load) -> None:
    async def story() -> None:
        models = watch(store, skeleton, load_fake)
        await models.follow()
        (store / "models").rename(store / "away")
        await models.follow()
        assert models.version == "v1" and "does not exist" in models.problem
        (store / "away").rename(store / "models")
        await models.follow()
        assert models.problem == ""

    asyncio.run(story())


def test_early_requests_wait_for_the_first_model(store: Path, skeleton: Skeleton, load_fake: Load) -> None:
    async def story() -> None:
        models = watch(store, skeleton, load_fake)
        with pytest.raises(NotReady):
            await models.model(0.01)
        early = asyncio.create_task(models.model(60))
        await models.follow()
        assert (await asyncio.wait_for(early, 2)).version == "v1"

    asyncio.run(story())


def test_a_model_must_pass_the_smoke_test(predictor: Any, make_pose: Any) -> None:
    class Drifts(type(predictor)):  # type: ignore[misc]
        def refine(self, *arguments: Any, **options: Any) -> Any:
            return [make_pose() for _ in range(3)]

    class Raises(type(predictor)):  # type: ignore[misc]
        def detect(self, *arguments: Any, **options: Any) -> Any:
            raise RuntimeError("out of memory")

    for kind, why in ((Drifts, "moved a keypoint"), (Raises, "out of memory")):
        with pytest.raises(InvalidModel, match=why):
            load_and_test(lambda folder, version, kind=kind: kind(), Path(), "v1", predictor.skeleton)  # type: ignore[misc]
