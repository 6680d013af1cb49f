"""Every image is labelled once, or listed with the reason why it is not, whatever interrupts the run."""

import dataclasses
import json
import os
import shutil
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch

from clickpose.errors import ClickPoseError, InvalidConfig, InvalidModel, StoreError, StoreInUse
from clickpose.images import read_image
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from pipeline import prelabel as driver
from pipeline.breadcrumbs import CRUMBS, Breadcrumbs
from pipeline.labeller import Labeller, ShardResult, load_predictor
from pipeline.lease import lease
from pipeline.listing import Picture
from pipeline.prelabel import PrelabelOptions, count_missing, prelabel, read_failures, read_prelabels
from pipeline.prelabelled import Model, Shard
from pipeline.shards import shard_names, write_shard
from pipeline.store import Store

PAW = Skeleton("paw", ("a", "b", "c"), (0.1, 0.1, 0.1))


class FakePredictor:
    """Sees one person in every picture but black ones; counts what it was asked."""

    def __init__(self, pose, on_encode=lambda brightness: None) -> None:
        self.pose, self.on_encode, self.seen = pose, on_encode, []

    def encode(self, image):
        brightness = int(np.asarray(image)[0, 0, 0])
        self.seen.append(brightness)
        self.on_encode(brightness)
        return brightness

    def encode_all(self, images):
        return [self.encode(image) for image in images]

    def detect(self, encoded):
        return [self.pose] if encoded else []

    def look_again(self, encoded, poses):
        return [dataclasses.replace(pose, keypoints_px=pose.keypoints_px + 3) for pose in poses]

    def expected_clicks(self, encoded, poses):
        return 2.5 * len(poses)


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "models" / "v0001-abc"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "skeleton.json").write_text(json.dumps(PAW.to_dict()))
    return folder


@pytest.fixture
def label(tmp_path, model, make_pose):
    """Run ``prelabel`` in this process into ``tmp_path / "out"``."""

    def run(images, predictor=None, **options):
        predictor = predictor or FakePredictor(make_pose())
        options = PrelabelOptions(**{"shard_size": 2, "num_workers": 0} | options)
        return prelabel(images, tmp_path / "out", model, options, load=lambda _: predictor)

    return run


def labelled(out) -> Counter[str]:
    return Counter(prelabel.uri.rpartition("/")[2] for prelabel in read_prelabels(str(out)))


def failed(out) -> dict[str, str]:
    return {failure.uri.rpartition("/")[2]: failure.reason for failure in read_failures(str(out))}


def raise_at(place: int, error: BaseException):
    def check(brightness: int) -> None:
        if brightness == place:
            raise error

    return check


def test_every_picture_is_labelled_once(label, make_pictures, tmp_path) -> None:
    summary = label(make_pictures("a.png", "b.png", "c.png"))
    assert labelled(tmp_path / "out") == {"a.png": 1, "b.png": 1, "c.png": 1}
    assert (summary.num_pictures, summary.num_labelled, summary.num_kept, summary.num_failed) == (3, 3, 0, 0)
    assert summary.model_version == "v0001-abc"
    assert failed(tmp_path / "out") == {}


def test_a_picture_without_people_has_no_poses(label, make_pictures, tmp_path) -> None:
    label(make_pictures("black.png", "grey.png"))
    assert [len(prelabel.poses) for prelabel in read_prelabels(str(tmp_path / "out"))] == [0, 1]


def test_broken_and_missing_pictures_are_listed_with_the_reason(label, make_pictures, tmp_path) -> None:
    folder = make_pictures("a.png", "b.png")
    (folder / "broken.png").write_bytes(b"no picture")
    summary = label([folder / name for name in ("a.png", "broken.png", "missing.png", "b.png")])
    reasons = failed(tmp_path / "out")
    assert labelled(tmp_path / "out") == {"a.png": 1, "b.png": 1}
    assert set(reasons) == {"broken.png", "missing.png"}
    assert "cannot be decoded" in reasons["broken.png"]
    assert "No such file" in reasons["missing.png"]
    assert (summary.num_labelled, summary.num_failed) == (2, 2)


def test_a_picture_that_upsets_the_model_stays_alone(label, make_pictures, make_pose, tmp_path) -> None:
    predictor = FakePredictor(make_pose(), raise_at(1, RuntimeError("out of memory")))
    label(make_pictures("a.png", "b.png", "c.png"), predictor)
    assert labelled(tmp_path / "out") == {"a.png": 1, "c.png": 1}
    assert "RuntimeError: out of memory" in failed(tmp_path / "out")["b.png"]


def test_a_lost_device_stops_the_run(label, make_pictures, make_pose) -> None:
    predictor = FakePredictor(make_pose(), raise_at(0, torch.AcceleratorError("the GPU fell off the bus")))
    with pytest.raises(torch.AcceleratorError):
        label(make_pictures("a.png", "b.png"), predictor)
    assert predictor.seen == [0]


def test_a_second_run_has_nothing_to_do(label, make_pictures, make_pose, tmp_path) -> None:
    folder = make_pictures("a.png", "b.png", "c.png")
    label(folder)
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*/part-*")}
    predictor = FakePredictor(make_pose())
    summary = label(folder, predictor)
    assert predictor.seen == []
    assert (summary.num_labelled, summary.num_kept) == (0, 3)
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("*/part-*")} == before != {}


def test_an_interrupted_run_goes_on_where_it_was(label, make_pictures, make_pose, tmp_path) -> None:
    folder = make_pictures(*(f"{i}.png" for i in range(7)))
    with pytest.raises(KeyboardInterrupt):
        label(folder, FakePredictor(make_pose(), raise_at(5, KeyboardInterrupt())))
    assert len(labelled(tmp_path / "out")) == 4  # two shards of two

    predictor = FakePredictor(make_pose())
    summary = label(folder, predictor, shard_size=3)
    assert predictor.seen == [4, 5, 6]
    assert labelled(tmp_path / "out") == {f"{i}.png": 1 for i in range(7)}
    assert (summary.num_labelled, summary.num_kept, summary.num_failed) == (3, 4, 0)


def test_pictures_that_came_later_are_added(label, make_pictures, make_pose, tmp_path) -> None:
    folder = make_pictures("0.png", "1.png", "b.png", "d.png")
    for later in ("0.png", "1.png"):
        (folder / later).unlink()
    label(folder)
    predictor = FakePredictor(make_pose())
    summary = label(make_pictures("a.png", "c.png"), predictor)
    assert sorted(predictor.seen) == [0, 1]
    assert labelled(tmp_path / "out") == {f"{name}.png": 1 for name in "abcd"}
    assert (summary.num_labelled, summary.num_kept) == (2, 2)


def test_a_picture_that_failed_is_tried_again_when_it_has_changed_or_that_is_asked_for(
    label, make_pictures, tmp_path
) -> None:
    folder = make_pictures("good.png")
    (folder / "broken.png").write_bytes(b"no picture")
    asked = [folder / name for name in ("good.png", "broken.png", "late.png")]
    assert label(asked).num_failed == 2

    make_pictures("late.png")
    summary = label(asked)
    assert (summary.num_labelled, summary.num_kept, summary.num_failed) == (1, 1, 1)
    assert set(failed(tmp_path / "out")) == {"broken.png"}

    assert label(asked, retry_failed=True).num_failed == 1
    make_pictures("broken.png")
    assert label(asked).num_failed == 0
    assert failed(tmp_path / "out") == {}


def test_failures_of_other_pictures_stay_listed(label, make_pictures, tmp_path) -> None:
    label([tmp_path / "elsewhere.png"])
    summary = label(make_pictures("a.png"))
    assert summary.num_failed == 0
    assert set(failed(tmp_path / "out")) == {"elsewhere.png"}


def test_a_picture_that_never_comes_back_is_listed_and_tried_again(label, make_pictures, monkeypatch, tmp_path) -> None:
    real, folder = driver.label_shards, make_pictures("a.png", "b.png", "c.png")
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


def test_a_picture_that_took_the_place_of_another_is_labelled_anew(label, make_pictures, tmp_path) -> None:
    folder = make_pictures("black.png", "b.png", "c.png")
    label(folder)
    make_pictures("b.png", "black.png")  # the first is black now, and the other is not
    os.utime(folder / "c.png", ns=(0, 0))
    (folder / "c.png").write_bytes(b"no picture")
    summary = label(folder)
    assert (summary.num_labelled, summary.num_kept, summary.num_failed) == (2, 0, 1)
    people = {found.picture.name: len(found.poses) for found in read_prelabels(str(tmp_path / "out"))}
    assert people == {"b.png": 0, "black.png": 1}


def test_pictures_are_recognised_when_all_of_them_move_and_so_is_the_model(
    label, make_pictures, model, tmp_path
) -> None:
    folder = make_pictures("a.png", "cam/b.png")
    label(folder)
    shutil.copytree(folder, tmp_path / "moved")
    shutil.move(model, tmp_path / "another name")
    (tmp_path / "another name" / "card.md").write_text("a few words more")
    options = PrelabelOptions(num_workers=0)
    for run in (count_missing, prelabel):
        summary = run(tmp_path / "moved", tmp_path / "out", tmp_path / "another name", options)
        assert (summary.num_labelled, summary.num_left, summary.num_kept) == (0, 0, 2)


def test_what_a_run_without_a_lease_did_twice_is_mended(label, make_pictures, make_pose, model, tmp_path) -> None:
    folder = make_pictures("a.png", "b.png")
    label(folder)
    found = [one for one in read_prelabels(str(tmp_path / "out")) if one.picture.name == "a.png"]
    digest = json.loads((tmp_path / "out" / "manifest.json").read_text())["model_digest"]
    write_shard(Store(tmp_path / "out"), "s9", found, Model("v1", "", digest, PAW))
    with pytest.raises(StoreError, match="twice"):
        labelled(tmp_path / "out")
    label(folder)
    assert labelled(tmp_path / "out") == {"a.png": 1, "b.png": 1}


def test_shards_are_the_same_however_many_work_on_them_and_whatever_was_interrupted(
    label, make_pictures, make_pose, model, tmp_path
) -> None:
    folder = make_pictures(*(f"{i}.png" for i in range(7)))
    with pytest.raises(KeyboardInterrupt):
        label(folder, FakePredictor(make_pose(), raise_at(5, KeyboardInterrupt())))
    label(folder)
    options = PrelabelOptions(shard_size=2, num_workers=0)
    prelabel(folder, tmp_path / "again", model, options, load=lambda _: FakePredictor(make_pose()))
    assert shard_names(Store(tmp_path / "out")) == shard_names(Store(tmp_path / "again"))


def test_the_second_of_two_drivers_is_told_who_labels(label, make_pictures, tmp_path) -> None:
    folder = make_pictures("a.png")
    with lease(Store(tmp_path / "out"), "pre-labelling"), pytest.raises(StoreInUse, match="pre-labelling since"):
        label(folder)


def test_a_limit_leaves_the_rest_for_the_next_run(label, make_pictures, tmp_path) -> None:
    folder = make_pictures(*(f"{i}.png" for i in range(5)))
    summary = label(folder, limit=3)
    assert (summary.num_labelled, summary.num_left, summary.num_pictures) == (3, 2, 5)
    summary = label(folder, limit=3)
    assert (summary.num_labelled, summary.num_kept, summary.num_left) == (2, 3, 0)
    assert labelled(tmp_path / "out") == {f"{i}.png": 1 for i in range(5)}


def test_a_dry_run_counts_and_writes_nothing(label, make_pictures, model, tmp_path) -> None:
    folder = make_pictures("a.png", "b.png", "c.png")
    label(folder, limit=1)
    before = sorted((tmp_path / "out").rglob("*"))
    summary = count_missing(folder, tmp_path / "out", model)
    assert (summary.num_pictures, summary.num_kept, summary.num_left, summary.num_labelled) == (3, 1, 2, 0)
    count_missing(folder, tmp_path / "elsewhere", model)
    assert sorted((tmp_path / "out").rglob("*")) == before and not (tmp_path / "elsewhere").exists()


def test_a_run_in_which_too_much_fails_stops_and_says_so(label, make_pictures, make_pose, tmp_path) -> None:
    folder = make_pictures(*(f"{i}.png" for i in range(8)))
    for i in range(4):
        (folder / f"{i}.png").write_bytes(b"no picture")
    predictor = FakePredictor(make_pose())
    with pytest.raises(ClickPoseError, match="2 of 8 images failed, more than the 20% allowed"):
        label(folder, predictor, max_failed=0.2)
    assert predictor.seen == []  # it was hopeless after the first two
    assert set(failed(tmp_path / "out")) == {"0.png", "1.png"}
    assert label(folder, max_failed=0.5).num_labelled == 4


def test_a_fresh_run_begins_anew_also_with_another_model(label, make_pictures, model, tmp_path) -> None:
    folder = make_pictures("a.png", "b.png")
    label(folder)
    (model / "weights.safetensors").write_bytes(b"trained a little more")
    assert label([folder / "a.png"], fresh=True).num_labelled == 1
    assert labelled(tmp_path / "out") == {"a.png": 1}
    assert json.loads((tmp_path / "out" / "roots.json").read_text()) == [str(folder)]


def test_one_folder_holds_the_labels_of_one_model(label, make_pictures, model, tmp_path) -> None:
    folder = make_pictures("a.png")
    label(folder)
    (model / "weights.safetensors").write_bytes(b"trained a little more")
    with pytest.raises(StoreError, match="another model"):
        label(folder)


def test_the_manifest_adds_up(label, make_pictures, tmp_path) -> None:
    label(make_pictures("a.png"))
    (make_pictures("b.png", "c.png", "d.png") / "notes.txt").touch()
    label(tmp_path / "pictures")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["num_shards"] == len(list((tmp_path / "out").glob("images/part-*"))) == 3
    run = manifest["last_run"]
    assert run["num_pictures"] == sum(run[f"num_{name}"] for name in ("labelled", "kept", "failed", "left")) == 4
    assert run["num_kept"] == 1
    assert manifest["passed_over"] == {"no picture by its name": 1}


def test_a_finished_run_leaves_no_crumbs(label, make_pictures, tmp_path) -> None:
    label(make_pictures("a.png"))
    assert not (tmp_path / "out" / CRUMBS).exists()


@pytest.mark.parametrize("options", [{"shard_size": 0}, {"num_workers": -1}, {"limit": -1}, {"max_failed": 1.5}])
def test_numbers_out_of_range_are_refused(label, make_pictures, options) -> None:
    with pytest.raises(InvalidConfig):
        label(make_pictures("a.png"), **options)


def test_a_picture_that_kills_is_found_out_in_three_lives(make_pictures, make_pose, tmp_path) -> None:
    class Death(BaseException):
        """What a worker process raises nowhere: it is just gone, and Ray starts the next one."""

    folder = make_pictures("a.png", "b.png", "c.png")
    shard = Shard("s0", tuple(Picture(str(folder / name)) for name in ("a.png", "b.png", "c.png")))

    def live():
        predictor = FakePredictor(make_pose(), raise_at(1, Death()))
        return Labeller(Model("v1", "", "", PAW), str(tmp_path / "out"), lambda _: predictor).label(shard)

    for _ in range(2):
        with pytest.raises(Death):
            live()
    result = live()

    assert result.num_labelled == 2
    assert [failure.uri for failure in result.failures] == [str(folder / "b.png")]
    assert labelled(tmp_path / "out") == {"a.png": 1, "c.png": 1}


def test_a_picture_at_which_a_run_was_stopped_twice_is_not_blamed(label, make_pictures, make_pose, tmp_path) -> None:
    folder = make_pictures("a.png", "b.png")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            label(folder, FakePredictor(make_pose(), raise_at(1, KeyboardInterrupt())))
    assert label(folder).num_labelled == 2


def test_no_picture_is_blamed_for_one_death(tmp_path) -> None:
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt), Breadcrumbs(store, "s0") as crumbs:
        crumbs.reach("a.png")
        raise KeyboardInterrupt
    with Breadcrumbs(store, "s0") as crumbs:
        assert crumbs.blamed == []
    assert store.names(CRUMBS) == []


def test_the_real_model_labels_what_its_predictor_sees(drawn_people, tiny_model, tmp_path) -> None:
    prelabel(f"{drawn_people}/*1.png", tmp_path / "out", tiny_model, PrelabelOptions(num_workers=0))
    read = list(read_prelabels(str(tmp_path / "out")))
    predictor = Predictor.load(tiny_model, device="cpu")
    expected = predictor.detect(predictor.encode(read_image(read[0].uri)))
    assert [prelabel.model_version for prelabel in read] == ["v0001-tiny"]
    assert len(read[0].poses) == len(expected) > 0
    np.testing.assert_allclose(read[0].poses[0].keypoints_px, expected[0].keypoints_px, atol=1e-3)


def test_a_model_that_changed_since_the_run_began_is_refused(tiny_model) -> None:
    with pytest.raises(InvalidModel, match="v0001-tiny"):
        load_predictor(Model("v0001-tiny", str(tiny_model), "the digest of other weights", PAW))


def test_the_driver_keeps_a_few_bytes_per_picture(label, make_pose, model, tmp_path, monkeypatch) -> None:
    """Labelling is replaced by counting, so that nothing but the driver's own memory is measured."""
    monkeypatch.setattr("pipeline.planning.CHUNK", 500)

    def count(shards, job, num_workers):
        return (ShardResult(shard.name, len(shard.pictures), ()) for shard in shards)

    def peak_bytes(num_pictures: int) -> int:
        names = (f"/nowhere/{i:09d}.jpg" for i in range(num_pictures))
        tracemalloc.start()
        summary = label(names, fresh=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert summary.num_labelled == num_pictures
        return peak

    monkeypatch.setattr(driver, "label_shards", count)
    peak_bytes(500)  # what is imported and compiled on first use
    few, many = peak_bytes(1_000), peak_bytes(10_000)
    assert (many - few) / 9_000 < 100


@pytest.mark.cluster
def test_pre_labelling_on_ray(ray_cluster, make_pictures, make_pose, model, tmp_path) -> None:
    """Two actors; a picture that is broken, one that is missing and one that kills; then again with more pictures."""
    pose, deaths = make_pose(), tmp_path / "deaths"

    class Deadly(FakePredictor):
        def encode(self, image):
            import os

            if int(np.asarray(image)[0, 0, 0]) == 3:
                with deaths.open("a") as file:
                    file.write("x")
                os._exit(1)
            return super().encode(image)

    folder = make_pictures(*(f"{i}.png" for i in range(8)))
    (folder / "broken.png").write_bytes(b"no picture")
    asked = [*sorted(folder.iterdir()), folder / "missing.png"]
    options = PrelabelOptions(shard_size=3, num_workers=2)

    def load(_):
        return Deadly(pose)

    summary = prelabel(asked, tmp_path / "out", model, options, load=load)
    assert (summary.num_labelled, summary.num_failed) == (7, 3)
    assert labelled(tmp_path / "out") == {f"{i}.png": 1 for i in (0, 1, 2, 4, 5, 6, 7)}
    assert set(failed(tmp_path / "out")) == {"3.png", "broken.png", "missing.png"}
    assert len(deaths.read_text()) == 2

    (folder / "3.png").unlink()
    make_pictures("broken.png", "new.png")
    summary = prelabel(folder, tmp_path / "out", model, options, load=load)
    assert (summary.num_labelled, summary.num_kept, summary.num_failed) == (2, 7, 0)

    with pytest.raises(ClickPoseError, match="no such model"):
        prelabel(make_pictures("more.png"), tmp_path / "out", model, options, load=refuse_to_load)


def refuse_to_load(_):
    raise ValueError("no such model")
