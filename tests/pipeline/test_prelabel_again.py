"""A run that is repeated labels what is missing or has changed, and nothing twice."""

import json
import os
import shutil

import pytest

from clickpose.errors import StoreError
from pipeline import prelabel as driver
from pipeline.prelabel import PrelabelOptions, count_missing, prelabel, read_prelabels
from pipeline.prelabelled import Model
from pipeline.shards import shard_names, write_shard
from pipeline.store import Store
from tests.pipeline.prelabelling import PAW, FakePredictor, failed, labelled, raise_at


def test_a_second_run_has_nothing_to_do(label, make_images, make_pose, tmp_path) -> None:
    folder = make_images("a.png", "b.png", "c.png")
    label(folder)
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*/part-*")}
    predictor = FakePredictor(make_pose())
    summary = label(folder, predictor)
    assert predictor.seen == []
    assert (summary.num_labelled, summary.num_kept) == (0, 3)
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("*/part-*")} == before != {}


def test_an_interrupted_run_resumes_where_it_was(label, make_images, make_pose, tmp_path) -> None:
    folder = make_images(*(f"{i}.png" for i in range(7)))
    with pytest.raises(KeyboardInterrupt):
        label(folder, FakePredictor(make_pose(), raise_at(5, KeyboardInterrupt())))
    assert len(labelled(tmp_path / "out")) == 4  # two shards of two

    predictor = FakePredictor(make_pose())
    summary = label(folder, predictor, shard_size=3)
    assert predictor.seen == [4, 5, 6]
    assert labelled(tmp_path / "out") == {f"{i}.png": 1 for i in range(7)}
    assert (summary.num_labelled, summary.num_kept, summary.num_failed) == (3, 4, 0)


def test_images_that_came_later_are_added(label, make_images, make_pose, tmp_path) -> None:
    folder = make_images("0.png", "1.png", "b.png", "d.png")
    for later in ("0.png", "1.png"):
        (folder / later).unlink()
    label(folder)
    predictor = FakePredictor(make_pose())
    summary = label(make_images("a.png", "c.png"), predictor)
    assert sorted(predictor.seen) == [0, 1]
    assert labelled(tmp_path / "out") == {f"{name}.png": 1 for name in "abcd"}
    assert (summary.num_labelled, summary.num_kept) == (2, 2)


def test_an_image_that_failed_is_tried_again_when_it_has_changed_or_that_is_asked_for(
    label, make_images, tmp_path
) -> None:
    folder = make_images("good.png")
    (folder / "broken.png").write_bytes(b"no image")
    asked = [folder / name for name in ("good.png", "broken.png", "late.png")]
    assert label(asked).num_failed == 2

    make_images("late.png")
    summary = label(asked)
    assert (summary.num_labelled, summary.num_kept, summary.num_failed) == (1, 1, 1)
    assert set(failed(tmp_path / "out")) == {"broken.png"}

    assert label(asked, retry_failed=True).num_failed == 1
    make_images("broken.png")
    assert label(asked).num_failed == 0
    assert failed(tmp_path / "out") == {}


def test_failures_of_other_images_stay_listed(label, make_images, tmp_path) -> None:
    label([tmp_path / "elsewhere.png"])
    summary = label(make_images("a.png"))
    assert summary.num_failed == 0
    assert set(failed(tmp_path / "out")) == {"elsewhere.png"}


def test_an_image_that_never_comes_back_is_listed_and_tried_again(label, make_images, monkeypatch, tmp_path) -> None:
    real, folder = driver.label_shards, make_images("a.png", "b.png", "c.png")
    with monkeypatch.context() as broken:
        broken.setattr(driver, "label_shards", lambda shards, job, num_workers: real(shards[1:], job, num_workers))
        summary = label(folder)
    assert labelled(tmp_path / "out") == {"c.png": 1}
    assert {name: "never came back" in reason for name, reason in failed(tmp_path / "out").items()} == {
        "a.png": True,
        "b.png": True,
    }
    assert (summary.num_labelled, summary.num_failed) == (1, 2)
    assert label(folder).num_labelled == 2


def test_an_image_that_took_the_place_of_another_is_labelled_again(label, make_images, tmp_path) -> None:
    folder = make_images("black.png", "b.png", "c.png")
    label(folder)
    make_images("b.png", "black.png")  # the first is black now, and the other is not
    os.utime(folder / "c.png", ns=(0, 0))
    (folder / "c.png").write_bytes(b"no image")
    summary = label(folder)
    assert (summary.num_labelled, summary.num_kept, summary.num_failed) == (2, 0, 1)
    people = {found.image.name: len(found.poses) for found in read_prelabels(str(tmp_path / "out"))}
    assert people == {"b.png": 0, "black.png": 1}


def test_images_are_recognised_when_all_of_them_move_and_so_is_the_model(label, make_images, model, tmp_path) -> None:
    folder = make_images("a.png", "cam/b.png")
    label(folder)
    shutil.copytree(folder, tmp_path / "moved")
    shutil.move(model, tmp_path / "another name")
    (tmp_path / "another name" / "card.md").write_text("a few words more")
    options = PrelabelOptions(num_workers=0)
    for run in (count_missing, prelabel):
        summary = run(tmp_path / "moved", tmp_path / "out", tmp_path / "another name", options)
        assert (summary.num_labelled, summary.num_left, summary.num_kept) == (0, 0, 2)


def test_two_folders_whose_images_have_the_same_names_are_not_mixed_up(label, make_images, tmp_path) -> None:
    folder = make_images("cam1/0.png", "cam2/0.png", "cam2/1.png")
    assert label(folder / "cam1").num_labelled == 1
    for _ in range(2):
        summary = label(folder / "cam2", max_failed=0.5)
        assert (summary.num_images, summary.num_failed) == (2, 1)
        assert labelled(tmp_path / "out") == {"0.png": 1, "1.png": 1}
        assert "is not the 0.png that is labelled here" in failed(tmp_path / "out")["0.png"]
    assert label(folder, fresh=True).num_labelled == 3
    assert failed(tmp_path / "out") == {}


def test_an_image_that_was_moved_with_all_others_and_replaced_is_labelled_anew(label, make_images, tmp_path) -> None:
    folder = make_images("black.png", "b.png")
    label(folder)
    folder.rename(tmp_path / "moved")
    (tmp_path / "moved" / "b.png").write_bytes((tmp_path / "moved" / "black.png").read_bytes())
    summary = label(tmp_path / "moved")
    assert (summary.num_labelled, summary.num_kept, summary.num_failed) == (1, 1, 0)
    people = {found.image.name: len(found.poses) for found in read_prelabels(str(tmp_path / "out"))}
    assert people == {"b.png": 0, "black.png": 0}


def test_what_a_run_without_a_lease_did_twice_is_mended(label, make_images, make_pose, model, tmp_path) -> None:
    folder = make_images("a.png", "b.png")
    label(folder)
    found = [one for one in read_prelabels(str(tmp_path / "out")) if one.image.name == "a.png"]
    digest = json.loads((tmp_path / "out" / "manifest.json").read_text())["model_digest"]
    write_shard(Store(tmp_path / "out"), "s9", found, Model("v1", "", digest, PAW))
    with pytest.raises(StoreError, match="twice"):
        labelled(tmp_path / "out")
    label(folder)
    assert labelled(tmp_path / "out") == {"a.png": 1, "b.png": 1}


def test_shards_are_the_same_however_many_work_on_them_and_whatever_was_interrupted(
    label, make_images, make_pose, model, tmp_path
) -> None:
    folder = make_images(*(f"{i}.png" for i in range(7)))
    with pytest.raises(KeyboardInterrupt):
        label(folder, FakePredictor(make_pose(), raise_at(5, KeyboardInterrupt())))
    label(folder)
    options = PrelabelOptions(shard_size=2, num_workers=0)
    prelabel(folder, tmp_path / "again", model, options, load=lambda _: FakePredictor(make_pose()))
    assert shard_names(Store(tmp_path / "out")) == shard_names(Store(tmp_path / "again"))


def test_a_limit_leaves_the_rest_for_the_next_run(label, make_images, tmp_path) -> None:
    folder = make_images(*(f"{i}.png" for i in range(5)))
    summary = label(folder, limit=3)
    assert (summary.num_labelled, summary.num_left, summary.num_images) == (3, 2, 5)
    summary = label(folder, limit=3)
    assert (summary.num_labelled, summary.num_kept, summary.num_left) == (2, 3, 0)
    assert labelled(tmp_path / "out") == {f"{i}.png": 1 for i in range(5)}


def test_a_dry_run_counts_and_writes_nothing(label, make_images, model, tmp_path) -> None:
    folder = make_images("a.png", "b.png", "c.png")
    label(folder, limit=1)
    before = sorted((tmp_path / "out").rglob("*"))
    summary = count_missing(folder, tmp_path / "out", model)
    assert (summary.num_images, summary.num_kept, summary.num_left, summary.num_labelled) == (3, 1, 2, 0)
    count_missing(folder, tmp_path / "elsewhere", model)
    assert sorted((tmp_path / "out").rglob("*")) == before and not (tmp_path / "elsewhere").exists()


def test_a_fresh_run_starts_over_also_with_another_model(label, make_images, model, tmp_path) -> None:
    folder = make_images("a.png", "b.png")
    label(folder)
    (model / "weights.safetensors").write_bytes(b"trained a little more")
    assert label([folder / "a.png"], fresh=True).num_labelled == 1
    assert labelled(tmp_path / "out") == {"a.png": 1}
    assert json.loads((tmp_path / "out" / "roots.json").read_text()) == [str(folder)]


def test_a_dry_run_knows_the_limit_and_starts_over_if_asked_to(label, make_images, model, tmp_path) -> None:
    folder = make_images(*(f"{i}.png" for i in range(5)))
    label(folder, limit=3)
    counted = count_missing(folder, tmp_path / "out", model)
    assert counted.forecast(1) == "v0001-abc would label 1 of 5 images, 3 labelled before, 1 beyond the limit"
    assert counted.forecast(None) == "v0001-abc would label 2 of 5 images, 3 labelled before"
    (model / "weights.safetensors").write_bytes(b"trained a little more")
    counted = count_missing(folder, tmp_path / "out", model, PrelabelOptions(fresh=True))
    assert (counted.num_kept, counted.num_left) == (0, 5)
    assert len(labelled(tmp_path / "out")) == 3


@pytest.mark.parametrize("name", ["images/mine.png", "persons/mine.txt", "manifest.json"])
@pytest.mark.parametrize("fresh", [False, True])
def test_what_others_have_written_is_neither_mixed_with_pre_labels_nor_deleted(
    label, make_images, model, tmp_path, name: str, fresh: bool
) -> None:
    mine = tmp_path / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("{}")
    for run in (label, lambda images, **options: count_missing(images, tmp_path / "out", model)):
        with pytest.raises(StoreError, match=f"{name} is not .* choose another folder"):
            run(make_images("a.png"), fresh=fresh)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]


def test_one_folder_holds_the_labels_of_one_model(label, make_images, model, tmp_path) -> None:
    folder = make_images("a.png")
    label(folder)
    (model / "weights.safetensors").write_bytes(b"trained a little more")
    with pytest.raises(StoreError, match="another model"):
        label(folder)


def test_an_image_at_which_a_run_was_stopped_twice_is_not_blamed(label, make_images, make_pose, tmp_path) -> None:
    folder = make_images("a.png", "b.png")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            label(folder, FakePredictor(make_pose(), raise_at(1, KeyboardInterrupt())))
    assert label(folder).num_labelled == 2
