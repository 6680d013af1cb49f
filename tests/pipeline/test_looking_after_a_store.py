"""What a store tells after some rounds, and what can be deleted without anybody missing it."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clickpose.__main__ import app
from clickpose.annotations import AnnotationSet
from clickpose.errors import StoreInUse
from clickpose.skeleton import Skeleton
from clickpose.training.config import TrainConfig
from integrations.label_studio.provenance import KeypointRecord
from pipeline import retrain as rounds
from pipeline.compare import Comparison, ImageClicks
from pipeline.data_diff import Changed, diff_data
from pipeline.gate import Check, Verdict
from pipeline.lease import lease
from pipeline.listing import ListedImage
from pipeline.prelabelled import Model, Prelabel
from pipeline.registry import Registry
from pipeline.retrain import Collected, RetrainConfig, RoundReport, retrain
from pipeline.round_report import all_reports
from pipeline.shards import write_shard
from pipeline.snapshot import take_snapshot
from pipeline.store import Store


def run(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None:
        raise done.exception
    return done.output


@pytest.fixture
def play(store: Store, annotations: AnnotationSet, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RoundReport]:
    """Run a round over the first images, whose challenger needs so many clicks, and is promoted or not."""

    def train(job, out, **_: object) -> None:
        shutil.copytree(job.start, out, ignore=shutil.ignore_patterns("record.json"))

    def run(num_images: int, clicks: float, *, promote: bool) -> RoundReport:
        images = annotations.images[:num_images]
        records = [KeypointRecord(i.id, i.id, 1, "nose", "moved", 2, "ann", "v1", 36.0, "2026") for i in images]

        def compare(champion, challenger, held_back, load_image, rule) -> Comparison:
            by_image = tuple(
                ImageClicks(image.file_name, 1, 6 + number, 5)
                for number, image in enumerate(held_back.annotations.images)
            )
            check = Check("clicks per person", 6.0, clicks, 0.99, 0.01, promote)
            return Comparison({}, {}, Verdict(promote, "because", (check,)), by_image)

        monkeypatch.setattr(rounds, "train", train)
        config = RetrainConfig("images", TrainConfig(), held_back_share=0.4)
        collected = Collected(dataclasses.replace(annotations, images=images), records)
        return retrain(store, lambda: collected, config, compare=compare, judge=lambda *_: [])

    return run


def test_prune_deletes_refused_challengers_and_keeps_the_way_back(store: Store, play, tmp_path: Path) -> None:
    first = Registry(store).current()
    promoted = play(4, 5.0, promote=True).challenger
    refused = play(6, 7.0, promote=False).challenger
    store.write_bytes(f"prelabels/{refused}-anew/part.parquet", b"x")
    store.write_bytes("prelabels/mine/part.parquet", b"x")

    told = run("store", "prune", "--store", store.uri, "--dry-run")
    assert f"models/{refused}" in told and "could be freed" in told
    assert refused in Registry(store).versions()

    run("store", "prune", "--store", store.uri, "--json", str(tmp_path / "pruned.json"))
    deleted = json.loads((tmp_path / "pruned.json").read_text())
    assert {one["name"] for one in deleted["deleted"]} == {f"models/{refused}", f"prelabels/{refused}-anew"}
    assert deleted["bytes"] > 100_000
    assert Registry(store).versions() == [first, promoted]
    assert store.folders("prelabels") == ["mine"]
    assert Registry(store).rollback() == first


def test_prune_changes_nothing_for_the_next_round(store: Store, play) -> None:
    play(4, 7.0, promote=False)
    take_snapshot(store, AnnotationSet(read_skeleton(store)))
    reports = all_reports(store)
    assert "no report uses this snapshot" not in run("store", "prune", "--store", store.uri)  # the current one
    play(4, 7.0, promote=False)
    assert "no report uses this snapshot" in run("store", "prune", "--store", store.uri)
    assert all_reports(store) == reports
    assert play(4, 7.0, promote=False).reason.startswith("0 images are new")
    assert play(6, 5.0, promote=True).promoted


def read_skeleton(store: Store):
    from clickpose.checkpoints.model_folder import load_model

    return load_model(Registry(store).fetch(Registry(store).current())).skeleton


def test_prune_waits_for_a_writer(store: Store) -> None:
    with lease(store, "retraining"), pytest.raises(StoreInUse, match="retraining"):
        run("store", "prune", "--store", store.uri)


def test_models_added_by_hand_are_kept(store: Store, tiny_model: Path) -> None:
    version = Registry(store).add(tiny_model)
    run("store", "prune", "--store", store.uri)
    assert version in Registry(store).versions()


def test_the_report_tells_rounds_effort_and_the_worst_images(store: Store, play, tmp_path: Path) -> None:
    assert run("report", "--store", store.uri) == "no round has finished yet\n"
    play(4, 5.0, promote=True)
    last = play(8, 7.0, promote=False)
    told = run("report", "--store", store.uri, "--plot", str(tmp_path / "r.png"), "--json", str(tmp_path / "r.json"))
    values = json.loads((tmp_path / "r.json").read_text())
    assert [(r["champion"], r["challenger"], r["images"]) for r in values["rounds"]] == [(6.0, 5.0, 4), (6.0, 7.0, 8)]
    assert values["rounds"][1]["hours"] == pytest.approx(8 * 36 / 3600)
    assert values["rounds"][1]["corrected"] == 1.0
    assert values["worst"][0]["file_name"] == max(last.by_image, key=lambda one: one.champion).file_name
    assert "| yes | 6.00 | 5.00 | 4 |" in told and "| no | 6.00 | 7.00 | 8 |" in told
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"


def test_the_report_says_whether_to_go_on_from_images_that_select_drew_by_lot(
    store: Store, play, tmp_path: Path
) -> None:
    last = play(8, 5.0, promote=True)
    prelabels = store.uri_of("prelabels/first")
    images = [ListedImage(f"/p/{name}", name=name) for name in last.newest]
    found = [Prelabel(image, (9, 9), (), "v1") for image in images]
    write_shard(Store(prelabels), "a", found, Model("v1", "models/v1", "v1", Skeleton.load("coco17")))
    told = run("report", "--store", store.uri)
    assert "No image of the last round was drawn at random" in told and "Continue: they would save at least" in told
    run("select", prelabels, "--count", "8", "--by", "random")
    told = run("report", "--store", store.uri, "--json", str(tmp_path / "r.json"))
    values = json.loads((tmp_path / "r.json").read_text())["outlook"]
    assert f"by {len(last.newest)} images drawn at random" in told and values["num_drawn"] == len(last.newest)
    saved = sum(one.champion - one.challenger for one in last.by_image) / len(last.by_image)
    assert values["saving"]["value"] == pytest.approx(saved * 100 / len(last.newest))


def test_drift_is_what_new_images_cost_more(store: Store, play, tmp_path: Path) -> None:
    play(4, 5.0, promote=False)
    last = play(8, 5.0, promote=False)
    run("report", "--store", store.uri, "--json", str(tmp_path / "r.json"))
    new = [one.champion for one in last.by_image if one.file_name in last.newest]
    old = [one.champion for one in last.by_image if one.file_name not in last.newest]
    drift = json.loads((tmp_path / "r.json").read_text())["rounds"][1]["drift"]
    assert drift == (pytest.approx(sum(new) / len(new) - sum(old) / len(old)) if new and old else None)


def test_data_are_shown_and_compared(store: Store, annotations: AnnotationSet) -> None:
    image = annotations.images[0]
    moved_px = image.persons[0].keypoints_px + 2
    person = dataclasses.replace(image.persons[0], keypoints_px=moved_px)
    anew = dataclasses.replace(image, persons=(person, *image.persons[1:]))
    old = take_snapshot(store, dataclasses.replace(annotations, images=annotations.images[:4]))
    new = take_snapshot(store, dataclasses.replace(annotations, images=(anew, *annotations.images[2:6])))

    shown = run("data", "show", "--store", store.uri)
    assert f"snapshot: {new.id}" in shown and "images: 5" in shown
    told = run("data", "diff", "--store", store.uri, old.id)
    assert f"- {annotations.images[1].file_name}\n" in told
    assert f"+ {annotations.images[5].file_name}\n" in told
    assert f"~ {image.file_name}: 0 persons added, 0 removed, {image.persons[0].num_labelled} keypoints changed" in told
    assert "2 images added, 1 removed, 1 changed" in told


def test_a_data_set_does_not_differ_from_itself(annotations: AnnotationSet) -> None:
    found = diff_data(annotations, annotations)
    assert (found.added, found.removed, found.changed) == ((), (), ())


def test_persons_come_and_go(annotations: AnnotationSet) -> None:
    image = next(image for image in annotations.images if len(image.persons) > 1)
    fewer = dataclasses.replace(image, persons=image.persons[1:])
    first, second = (dataclasses.replace(annotations, images=(one,)) for one in (image, fewer))
    assert diff_data(first, second).changed == (Changed(image.file_name, 0, 1, 0),)
    assert diff_data(second, first).changed == (Changed(image.file_name, 1, 0, 0),)
