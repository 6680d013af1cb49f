"""Versions of models: never overwritten, promoted atomically, rolled back in order, checked when fetched."""

import json

import pytest
from typer.testing import CliRunner

from clickpose.__main__ import app
from clickpose.errors import InvalidModel, StoreError
from integrations.store import HISTORY
from pipeline.registry import Registry
from pipeline.store import Store


@pytest.fixture
def registry(tmp_path):
    return Registry(Store(tmp_path / "store"))


@pytest.fixture
def make_model(tmp_path):
    """Write a folder that looks like a model; the weights make each one different."""

    def make(weights: bytes = b"weights", **metrics):
        folder = tmp_path / "models" / weights.decode()
        folder.mkdir(parents=True, exist_ok=True)
        for file in ("config.json", "skeleton.json"):
            (folder / file).write_text("{}")
        (folder / "weights.safetensors").write_bytes(weights)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "card.md").write_text("# A model")
        return folder

    return make


def add_three(registry, make_model) -> list[str]:
    return [registry.add(make_model(weights)) for weights in (b"a", b"b", b"c")]


def test_an_empty_registry_has_no_current_model(registry) -> None:
    assert registry.current() is None
    assert registry.models() == []


def test_versions_grow_and_differ_even_for_the_same_model(registry, make_model) -> None:
    versions = [registry.add(make_model(weights)) for weights in (b"a", b"a", b"b")]
    assert [version[:6] for version in versions] == ["v0001-", "v0002-", "v0003-"]
    assert versions[0][6:] == versions[1][6:] != versions[2][6:]
    assert registry.versions() == versions


def test_a_record_shows_numbers_parent_and_which_is_current(registry, make_model) -> None:
    parent = registry.add(make_model(b"a", ap=0.5))
    child = registry.add(make_model(b"b", ap=0.6), parent=parent)
    registry.promote(child)
    first, second = registry.models()
    assert (first.version, first.parent, first.metrics, first.is_current) == (parent, None, {"ap": 0.5}, False)
    assert (second.version, second.parent, second.metrics, second.is_current) == (child, parent, {"ap": 0.6}, True)


def test_adding_promotes_nothing(registry, make_model) -> None:
    registry.add(make_model())
    assert registry.current() is None


def test_a_folder_that_lacks_a_file_is_no_model(registry, make_model) -> None:
    folder = make_model()
    (folder / "card.md").unlink()
    with pytest.raises(InvalidModel, match=r"card\.md"):
        registry.add(folder)


def test_an_interrupted_upload_is_no_version_and_its_number_is_not_used_again(registry, make_model) -> None:
    registry.store.put_folder(make_model(b"a"), "models/v0001-00000000")
    assert registry.versions() == []
    assert registry.add(make_model(b"b")).startswith("v0002-")


@pytest.mark.parametrize("version", ["v0009-00000000", "current", "../secret"])
def test_an_unknown_version_is_named(registry, version) -> None:
    for call in (registry.promote, registry.fetch, registry.show):
        with pytest.raises(StoreError, match=version):
            call(version)


def test_rollback_twice_goes_back_two_promotions(registry, make_model) -> None:
    a, b, c = add_three(registry, make_model)
    for version in (a, b, c, c):
        registry.promote(version)
    assert [registry.rollback(), registry.rollback()] == [b, a]
    assert registry.current() == a
    with pytest.raises(StoreError, match="no previous version"):
        registry.rollback()


def test_a_version_rolled_back_is_not_returned_to(registry, make_model) -> None:
    a, b, c = add_three(registry, make_model)
    registry.promote(a)
    registry.promote(b)
    registry.rollback()
    registry.promote(c)
    assert registry.rollback() == a


def test_a_version_may_be_promoted_again(registry, make_model) -> None:
    a, b, _ = add_three(registry, make_model)
    for version in (a, b, a):
        registry.promote(version)
    assert [registry.rollback(), registry.rollback()] == [b, a]


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_the_way_back_survives_a_death_before_the_pointer_is_written(registry, make_model, monkeypatch, action) -> None:
    a, b, c = add_three(registry, make_model)
    registry.promote(a)
    registry.promote(b)
    with monkeypatch.context() as dying:
        dying.setattr(registry.store, "write_pointer", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            registry.promote(c) if action == "promote" else registry.rollback()
    assert registry.current() == b
    assert registry.rollback() == a


def test_a_challenger_succeeds_the_champion_it_was_compared_with_and_no_other(registry, make_model) -> None:
    a, b, c = add_three(registry, make_model)
    registry.promote(a)
    assert registry.promote_over(a, b)
    assert registry.promote_over(a, b)  # again, by a round that was interrupted
    assert not registry.promote_over(a, c)
    registry.rollback()
    assert not registry.promote_over(a, b)
    assert registry.current() == a


def test_a_model_is_found_by_the_round_that_made_it(registry, make_model) -> None:
    registry.add(make_model(b"a"))
    made = registry.add(make_model(b"b"), made_by="round 7")
    assert registry.version_made_by("round 7") == made
    assert registry.version_made_by("round 8") is None


def test_history_tells_who_was_current_when(registry, make_model) -> None:
    a, b, _ = add_three(registry, make_model)
    registry.promote(a)
    registry.promote(b)
    registry.rollback()
    assert [(event["action"], event["version"]) for event in registry.history()] == [
        ("promote", a),
        ("promote", b),
        ("rollback", a),
    ]
    assert registry.store.exists(HISTORY)


def test_fetch_gives_what_was_added(registry, make_model) -> None:
    version = registry.add(make_model(b"a"))
    folder = registry.fetch(version)
    assert folder.name == version
    assert (folder / "weights.safetensors").read_bytes() == b"a"


def test_fetch_refuses_a_model_that_was_changed(registry, make_model) -> None:
    version = registry.add(make_model(b"a"))
    (registry.fetch(version) / "weights.safetensors").write_bytes(b"z")
    with pytest.raises(StoreError, match=r"weights\.safetensors"):
        registry.fetch(version)


def test_a_store_without_models_is_named_when_they_are_listed(tmp_path) -> None:
    done = CliRunner().invoke(app, ["models", "list", "--store", str(tmp_path / "mistyped")])
    assert done.exit_code == 0 and done.output.split() == f"there are no models in {tmp_path}/mistyped".split()
