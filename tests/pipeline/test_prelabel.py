"""Every image is labelled once, or listed with the reason why it is not, whatever goes wrong with it."""

import json
import logging
import os
import tracemalloc

import numpy as np
import pytest
import torch

from clickpose.errors import ClickPoseError, InvalidConfig, InvalidModel, StoreInUse
from clickpose.images import read_image
from clickpose.predictor import Predictor
from pipeline import prelabel as driver
from pipeline.breadcrumbs import CRUMBS, Breadcrumbs
from pipeline.labeller import Labeller, ShardResult, load_predictor
from pipeline.lease import lease
from pipeline.listing import ListedImage
from pipeline.prelabel import PrelabelOptions, prelabel, read_prelabels
from pipeline.prelabelled import Model, Shard
from pipeline.store import Store
from tests.pipeline.prelabelling import PAW, FakePredictor, failed, labelled, raise_at


def test_every_image_is_labelled_once(label, make_images, tmp_path) -> None:
    summary = label(make_images("a.png", "b.png", "c.png"))
    assert labelled(tmp_path / "out") == {"a.png": 1, "b.png": 1, "c.png": 1}
    assert (summary.num_images, summary.num_labelled, summary.num_kept, summary.num_failed) == (3, 3, 0, 0)
    assert summary.model_version == "v0001-abc"
    assert failed(tmp_path / "out") == {}


def test_an_image_without_people_has_no_poses(label, make_images, tmp_path) -> None:
    label(make_images("black.png", "grey.png"))
    assert [len(prelabel.poses) for prelabel in read_prelabels(str(tmp_path / "out"))] == [0, 1]


def test_broken_and_missing_images_are_listed_with_the_reason(label, make_images, tmp_path) -> None:
    folder = make_images("a.png", "b.png")
    (folder / "broken.png").write_bytes(b"no image")
    summary = label([folder / name for name in ("a.png", "broken.png", "missing.png", "b.png")])
    reasons = failed(tmp_path / "out")
    assert labelled(tmp_path / "out") == {"a.png": 1, "b.png": 1}
    assert set(reasons) == {"broken.png", "missing.png"}
    assert "cannot be decoded" in reasons["broken.png"]
    assert "No such file" in reasons["missing.png"]
    assert (summary.num_labelled, summary.num_failed) == (2, 2)


def test_an_image_that_upsets_the_model_stays_alone(label, make_images, make_pose, tmp_path) -> None:
    predictor = FakePredictor(make_pose(), raise_at(1, RuntimeError("out of memory")))
    label(make_images("a.png", "b.png", "c.png"), predictor)
    assert labelled(tmp_path / "out") == {"a.png": 1, "c.png": 1}
    assert "RuntimeError: out of memory" in failed(tmp_path / "out")["b.png"]


def test_a_lost_device_stops_the_run(label, make_images, make_pose) -> None:
    predictor = FakePredictor(make_pose(), raise_at(0, torch.AcceleratorError("the GPU fell off the bus")))
    with pytest.raises(torch.AcceleratorError):
        label(make_images("a.png", "b.png"), predictor)
    assert predictor.seen == [0]


def test_the_second_of_two_drivers_is_told_who_labels(label, make_images, tmp_path) -> None:
    folder = make_images("a.png")
    with lease(Store(tmp_path / "out"), "pre-labelling"), pytest.raises(StoreInUse, match="pre-labelling since"):
        label(folder)


def test_a_run_in_which_too_much_fails_stops_and_says_so(label, make_images, make_pose, monkeypatch, tmp_path) -> None:
    folder = make_images(*(f"{i}.png" for i in range(8)))
    for i in range(4):
        (folder / f"{i}.png").write_bytes(b"no image")
    predictor = FakePredictor(make_pose())
    monkeypatch.setattr("pipeline.planning.CHUNK", 3)
    with pytest.raises(
        ClickPoseError, match=r"2 of 8 images failed, more than the 20% allowed: .*1\.png cannot be dec"
    ):
        label(folder, predictor, max_failed=0.2)
    assert predictor.seen == []  # it was hopeless after the first two
    counted = json.loads((tmp_path / "out" / "manifest.json").read_text())["last_run"]
    assert (counted["num_images"], counted["num_failed"], counted["num_left"]) == (8, 2, 6)
    assert set(failed(tmp_path / "out")) == {"0.png", "1.png"}
    assert label(folder, max_failed=0.5).num_labelled == 4


def test_the_manifest_adds_up(label, make_images, tmp_path) -> None:
    label(make_images("a.png"))
    (make_images("b.png", "c.png", "d.png") / "notes.txt").touch()
    label(tmp_path / "images")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["num_shards"] == len(list((tmp_path / "out").glob("images/part-*"))) == 3
    run = manifest["last_run"]
    assert run["num_images"] == sum(run[f"num_{name}"] for name in ("labelled", "kept", "failed", "left")) == 4
    assert run["num_kept"] == 1
    assert manifest["left_out"] == {"not an image, by its suffix": 1}


def test_progress_ends_at_the_number_of_names_also_if_some_are_there_twice(label, make_images, caplog) -> None:
    folder = make_images("a.png", "b.png")
    (folder / "broken.png").write_bytes(b"no image")
    names = [folder / name for name in ("a.png", "a.png", "broken.png", "b.png", "a.png")]
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            summary = label(names)
            assert "5 of 5, 1 failed" in caplog.messages[-1]
    assert (summary.num_images, summary.num_kept, summary.num_failed) == (3, 2, 1)


def test_a_finished_run_leaves_no_crumbs(label, make_images, tmp_path) -> None:
    label(make_images("a.png"))
    assert not (tmp_path / "out" / CRUMBS).exists()


@pytest.mark.parametrize("options", [{"shard_size": 0}, {"num_workers": -1}, {"limit": -1}, {"max_failed": 1.5}])
def test_numbers_out_of_range_are_refused(label, make_images, options) -> None:
    with pytest.raises(InvalidConfig):
        label(make_images("a.png"), **options)


def test_an_image_that_kills_is_found_out_in_three_lives(make_images, make_pose, tmp_path) -> None:
    class Death(BaseException):
        """What a worker process raises nowhere: it is just gone, and Ray starts the next one."""

    folder = make_images("a.png", "b.png", "c.png")
    shard = Shard("s0", tuple(ListedImage(str(folder / name), name=name) for name in ("a.png", "b.png", "c.png")))

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


def test_no_image_is_blamed_for_one_death(tmp_path) -> None:
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


def test_the_driver_keeps_a_few_bytes_per_image(label, make_pose, model, tmp_path, monkeypatch) -> None:
    """Labelling is replaced by counting, so that nothing but the driver's own memory is measured."""
    monkeypatch.setattr("pipeline.planning.CHUNK", 500)

    def count(shards, job, num_workers):
        return (ShardResult(shard.name, len(shard.images), ()) for shard in shards)

    def peak_bytes(num_images: int) -> int:
        names = (f"/nowhere/{i:09d}.jpg" for i in range(num_images))
        tracemalloc.start()
        summary = label(names, fresh=True)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert summary.num_labelled == num_images
        return peak

    monkeypatch.setattr(driver, "label_shards", count)
    peak_bytes(500)  # what is imported and compiled on first use
    few, many = peak_bytes(1_000), peak_bytes(4_000)
    assert (many - few) / 3_000 < 100


@pytest.mark.cluster
def test_pre_labelling_on_ray(ray_cluster, make_images, make_pose, model, tmp_path) -> None:
    """Two actors; an image that is broken, one that is missing and one that kills; then again with more images."""
    pose, deaths = make_pose(), tmp_path / "deaths"

    class Deadly(FakePredictor):
        def encode(self, image):

            if int(np.asarray(image)[0, 0, 0]) == 3:
                with deaths.open("a") as file:
                    file.write("x")
                os._exit(1)
            return super().encode(image)

    folder = make_images(*(f"{i}.png" for i in range(8)))
    (folder / "broken.png").write_bytes(b"no image")
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
    make_images("broken.png", "new.png")
    summary = prelabel(folder, tmp_path / "out", model, options, load=load)
    assert (summary.num_labelled, summary.num_kept, summary.num_failed) == (2, 7, 0)

    with pytest.raises(ClickPoseError, match="no such model"):
        prelabel(make_images("more.png"), tmp_path / "out", model, options, load=refuse_to_load)


def refuse_to_load(_):
    raise ValueError("no such model")
