"""A round of retraining: what is learned, what is compared on, what is promoted, and what is set aside."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from PIL import Image

from clickpose.errors import InvalidConfig, StoreError
from clickpose.training.config import TrainConfig
from clickpose.training.scenes import SceneConfig
from integrations.coco import read_coco
from integrations.label_studio.provenance import KeypointRecord
from pipeline import retrain as rounds
from pipeline import round_report
from pipeline.compare import Comparison, HeldBack, compare_in_clicks
from pipeline.dataset import ImageFolder
from pipeline.gate import GateRule, Verdict
from pipeline.gold import name_gold
from pipeline.registry import Registry
from pipeline.retrain import Collected, RetrainConfig, retrain
from pipeline.round_report import latest_report
from pipeline.set_aside import accept
from pipeline.snapshot import split
from pipeline.store import Store
from pipeline.suspicion import Suspicion


@pytest.fixture
def config(drawn_people) -> RetrainConfig:
    augment = SceneConfig(canvas_sizes_px=((64, 64),), max_pictures=1)
    training = TrainConfig(epochs=2, batch_size=2, scenes_per_epoch=2, num_denoised=4, augment=augment)
    return RetrainConfig(str(drawn_people), training, held_back_share=0.4)


def say(is_better: bool):
    """A comparison that has made up its mind, and remembers what it was shown."""

    def compare(champion, challenger, held_back, load_image, rule) -> Comparison:
        compare.shown = {image.file_name for image in held_back.annotations.images}
        compare.gold = held_back.gold
        return Comparison({"clicks@90": 9.0}, {"clicks@90": 8.0}, Verdict(is_better, "because I say so"))

    return compare


@pytest.fixture
def untrained(monkeypatch) -> list[set[str]]:
    """Let training copy the model it starts from; return the list that each training adds its images to."""

    def train(job, out, **_):
        learned.append({image.file_name for source in job.data for image in read_coco(source.annotations).images})
        shutil.copytree(job.start, out, ignore=shutil.ignore_patterns("record.json"))

    learned: list[set[str]] = []
    monkeypatch.setattr(rounds, "train", train)
    for draw in ("click_curve", "click_bars"):  # slow; a whole round has the real ones
        monkeypatch.setattr(round_report, draw, lambda models: Figure((1, 1)))
    return learned


def collecting(annotations):
    return lambda: Collected(annotations)


def test_a_better_challenger_is_promoted(store, annotations, config, untrained) -> None:
    registry = Registry(store)
    champion = registry.current()
    report = retrain(store, collecting(annotations), config, compare=say(True))
    assert report.promoted
    assert (report.parent, report.challenger) == (champion, registry.current())
    assert registry.show(report.challenger).parent == champion
    assert registry.show(report.challenger).metrics["held_back/clicks@90"] == 8.0
    assert registry.rollback() == champion


def test_a_challenger_that_is_no_better_is_kept_but_not_promoted(store, annotations, config, untrained) -> None:
    champion = Registry(store).current()
    report = retrain(store, collecting(annotations), config, compare=say(False))
    assert not report.promoted
    assert Registry(store).current() == champion
    assert Registry(store).versions() == [champion, report.challenger]


def test_what_is_compared_on_was_not_trained_on(store, annotations, config, untrained) -> None:
    compare = say(True)
    report = retrain(store, collecting(annotations), config, compare=compare)
    (learned,) = untrained
    assert learned and compare.shown
    assert learned.isdisjoint(compare.shown)
    assert learned | compare.shown == {image.file_name for image in annotations.images}
    assert (report.num_trained, report.num_held_back) == (len(learned), len(compare.shown))


def test_gold_images_are_compared_on_and_never_trained_on(store, annotations, config, untrained) -> None:
    learned = [image.file_name for image in split(annotations, config.held_back_share)[0].images]
    name_gold(store, learned[:2])
    compare = say(True)
    retrain(store, collecting(annotations), config, compare=compare)
    assert compare.gold == set(learned[:2]) <= compare.shown
    assert len(learned) - 2 == len(annotations.images) - len(compare.shown)


def test_without_named_gold_what_was_held_back_before_is_gold(store, annotations, config, untrained) -> None:
    config = dataclasses.replace(config, held_back_share=0.6)
    newest = split(annotations, 0.6)[1].images[-1]
    before = dataclasses.replace(annotations, images=tuple(i for i in annotations.images if i is not newest))
    first, second = say(False), say(False)
    retrain(store, collecting(before), config, compare=first)
    retrain(store, collecting(annotations), config, compare=second)
    assert first.gold == set()
    assert second.gold == first.shown == second.shown - {newest.file_name}


def test_a_round_leaves_a_report(store, annotations, config, tmp_path, untrained) -> None:
    collected = Collected(annotations, left_out=("task 7: 2 points belong to no person",))
    report = retrain(store, lambda: collected, config, compare=say(True))
    folder = tmp_path / "store" / "reports" / report.round
    assert latest_report(store) == report
    assert json.loads((folder / "report.json").read_text())["reason"] == "because I say so"
    assert f"{report.challenger} was promoted" in (folder / "report.md").read_text()
    assert "- task 7: 2 points belong to no person" in (folder / "report.md").read_text()
    assert (folder / "curve.png").read_bytes()[:4] == (folder / "clicks.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "store" / "runs" / report.round).exists()


def test_without_anything_new_nothing_happens(store, annotations, config, untrained) -> None:
    first = retrain(store, collecting(annotations), config, compare=say(True))
    again = retrain(store, collecting(annotations), config, compare=say(True))
    assert (again.challenger, again.promoted) == (None, False)
    assert again.reason == "0 images are new since the last round, 1 are needed"
    assert latest_report(store) == first
    assert len(Registry(store).versions()) == 2


def test_a_round_with_only_held_back_images_asks_for_more(store, annotations, config, untrained) -> None:
    champion, all_held_back = Registry(store).current(), dataclasses.replace(config, held_back_share=1.0)
    report = retrain(store, collecting(annotations), all_held_back, compare=say(True))
    assert (report.challenger, report.promoted) == (None, False) and Registry(store).current() == champion
    count = len(annotations)
    assert f"of {count} new images {count} are held back" in report.reason
    assert report.reason.endswith("annotate at least 1 more")
    assert retrain(store, collecting(annotations), config, compare=say(True)).promoted  # they are still new


def test_an_image_annotated_again_is_new(store, annotations, config, untrained) -> None:
    retrain(store, collecting(annotations), config, compare=say(False))
    image = annotations.images[0]
    fewer = dataclasses.replace(image, persons=image.persons[1:])
    changed = dataclasses.replace(annotations, images=(fewer, *annotations.images[1:]))
    assert retrain(store, collecting(changed), config, compare=say(False)).challenger is not None


def test_an_interrupted_round_resumes(store, annotations, config, tmp_path) -> None:
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrain(store, collecting(annotations), config, compare=stop)
    trained = list((tmp_path / "store" / "runs").iterdir())
    report = retrain(store, collecting(annotations), config, compare=say(True))
    assert [run.name for run in trained] == [report.round]
    assert report.promoted


def test_without_a_champion_there_is_nothing_to_challenge(tmp_path, annotations, config) -> None:
    with pytest.raises(StoreError, match="no current model"):
        retrain(Store(tmp_path / "empty"), collecting(annotations), config)


def test_a_model_is_no_better_than_itself(annotations, drawn_people, tiny_model) -> None:
    images, rule = ImageFolder(str(drawn_people)), GateRule(min_persons=1, min_images=4, num_draws=100)
    few = dataclasses.replace(annotations, images=annotations.images[:4])
    comparison = compare_in_clicks(tiny_model, tiny_model, HeldBack(few), images, rule)
    assert not comparison.verdict.is_better
    assert all(check.chance_better == check.chance_worse == 0 for check in comparison.verdict.checks)
    assert comparison.champion["clicks@90"] == comparison.challenger["clicks@90"] > 0


def test_a_whole_round_in_a_store_that_is_a_uri(annotations, config, tiny_model, tmp_path) -> None:
    store = Store((tmp_path / "store").as_uri())
    Registry(store).promote(Registry(store).add(tiny_model))
    report = retrain(store, collecting(annotations), config)
    held_back = Registry(store).show(report.challenger).metrics
    assert held_back["held_back/clicks@90"] == report.challenger_metrics["clicks@90"] > 0
    assert report.parent_metrics["max_held_drift_px@90"] == 0
    assert report.promoted == (Registry(store).current() == report.challenger)
    assert "more persons" in report.reason and not report.promoted
    figures = [tmp_path / "store" / "reports" / report.round / name for name in ("curve.png", "clicks.png")]
    assert all(Image.open(figure).width > 400 for figure in figures)


def test_what_looks_wrong_is_set_aside_by_annotation_until_it_is_accepted(store, annotations, config, untrained):
    odd = next(image for image in split(annotations, 0.4)[0].images)
    records = [KeypointRecord(odd.id, 17, 1, "nose", "moved", 2, "eve@example.org", "v1", 1.0, "2026-01-01T00:00:00Z")]

    def play(judge, **changes):
        wanted = dataclasses.replace(config, **changes)
        return retrain(store, lambda: Collected(annotations, records), wanted, compare=say(False), judge=judge)

    report = play(lambda champion, new, users, trusted, images: [Suspicion(odd.file_name, f"{users[odd.file_name]}!")])
    (aside,) = report.set_aside
    assert (aside.annotation, aside.file_name, aside.reason) == ("17", odd.file_name, "eve@example.org!")
    assert odd.file_name not in untrained[0]
    assert "1 annotations set aside" in report.to_markdown() and "| 17 |" in report.to_markdown()
    assert latest_report(store) == report

    def unasked(*_):
        pytest.fail("what was set aside is not looked at again")

    again = play(unasked)
    assert again.reason == "0 images are new since the last round, 1 are needed; 1 annotations are set aside"

    with pytest.raises(InvalidConfig, match="18 is not set aside; these are: 17"):
        accept(store, ["18"])
    accept(store, ["17"])
    accepted = play(unasked)
    assert odd.file_name in untrained[-1]
    assert accepted.set_aside == ()


def test_an_annotation_that_changed_is_judged_again(store, annotations, config, untrained):
    odd, asked = annotations.images[0], []

    def judge(champion, new, users, trusted, images):
        asked.append([image.file_name for image in new.images])
        return [Suspicion(odd.file_name, "odd")]

    retrain(store, collecting(annotations), config, compare=say(False), judge=judge)
    mended = dataclasses.replace(odd, persons=odd.persons[1:])
    changed = dataclasses.replace(annotations, images=(mended, *annotations.images[1:]))
    report = retrain(store, collecting(changed), config, compare=say(False), judge=judge)
    assert asked[1] == [odd.file_name]
    assert len(report.set_aside) == 1


def test_a_swapped_batch_is_set_aside_in_a_round(store, annotations, config, monkeypatch):
    """The champion here is one that sees the truth."""
    mirror = annotations.skeleton.flip_permutation

    def swap(person):
        return dataclasses.replace(
            person, keypoints_px=person.keypoints_px[mirror], visibility=person.visibility[mirror]
        )

    swapped = tuple(dataclasses.replace(i, persons=tuple(map(swap, i.persons))) for i in annotations.images)
    truth = {image.file_name: image.persons for image in annotations.images}

    class Oracle:
        skeleton = annotations.skeleton
        load = classmethod(lambda cls, folder: cls())

        def encode(self, image):
            return image.filename

        def detect(self, encoded):
            return [SimpleNamespace(keypoints_px=p.keypoints_px) for p in truth[Path(encoded).name]]

    monkeypatch.setattr("pipeline.set_aside.Predictor", Oracle)
    monkeypatch.setattr("pipeline.dataset.read_image_at", lambda name: SimpleNamespace(filename=name))
    report = retrain(store, collecting(dataclasses.replace(annotations, images=swapped)), config, compare=say(False))
    assert report.challenger is None
    assert {one.file_name for one in report.set_aside} == set(truth)
