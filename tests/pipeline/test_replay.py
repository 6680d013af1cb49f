"""What a champion learned from is found again: in earlier snapshots, in its folder, and where the user says."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from clickpose.annotations import AnnotationSet
from clickpose.errors import InvalidConfig
from clickpose.training.config import TrainConfig
from integrations.coco import read_coco, write_coco
from pipeline import retrain as rounds
from pipeline.compare import Comparison
from pipeline.gate import Verdict
from pipeline.mixture import DataSource
from pipeline.registry import Registry
from pipeline.retrain import Collected, RetrainConfig, retrain
from pipeline.store import Store


@pytest.fixture
def config(drawn_people: Path) -> RetrainConfig:
    return RetrainConfig(str(drawn_people), TrainConfig(), held_back_share=0.0)


@pytest.fixture
def play(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[DataSource]]:
    """Run a round that promotes or not, and return what it would have trained on."""
    trained: list[list[DataSource]] = []

    def train(job, out, **_):
        trained.append([dataclasses.replace(source) for source in job.data])
        names = [{image.file_name for image in read_coco(source.annotations).images} for source in job.data]
        trained[-1] = list(zip(names, (source.weight for source in job.data), strict=True))
        shutil.copytree(job.start, out, ignore=shutil.ignore_patterns("record.json", "replay"))

    def run(annotations: AnnotationSet, config: RetrainConfig, promote: bool = True):
        verdict = Comparison({}, {}, Verdict(promote, "because I say so"))
        monkeypatch.setattr(rounds, "train", train)
        retrain(store, lambda: Collected(annotations), config, compare=lambda *_: verdict, judge=lambda *_: [])
        return trained[-1]

    return run


def names_of(annotations: AnnotationSet) -> set[str]:
    return {image.file_name for image in annotations.images}


def cut(annotations: AnnotationSet, first: int, last: int) -> AnnotationSet:
    return dataclasses.replace(annotations, images=annotations.images[first:last])


def test_what_was_learned_before_is_half_of_the_next_training(play, annotations, config) -> None:
    assert play(cut(annotations, 0, 5), config) == [(names_of(cut(annotations, 0, 5)), 1.0)]
    (new, share), (old, rest) = play(annotations, config)
    assert (new, old) == (names_of(cut(annotations, 5, 8)), names_of(cut(annotations, 0, 5)))
    assert share == rest == 0.5


def test_data_that_left_the_project_are_replayed(play, annotations, config) -> None:
    """A second project begins from nothing; the champion's own snapshots are still in the store."""
    play(cut(annotations, 0, 5), config)
    (new, _), (old, _) = play(cut(annotations, 5, 8), config)
    assert (new, old) == (names_of(cut(annotations, 5, 8)), names_of(cut(annotations, 0, 5)))


def test_what_a_refused_challenger_learned_is_still_new_to_the_champion(play, annotations, config) -> None:
    play(cut(annotations, 0, 5), config, promote=False)
    assert play(annotations, config) == [(names_of(annotations), 1.0)]


def test_without_replay_only_what_is_new_is_trained_on(play, annotations, config) -> None:
    alone = dataclasses.replace(config, replay_share=0.0)
    play(cut(annotations, 0, 5), alone)
    assert play(annotations, alone) == [(names_of(cut(annotations, 5, 8)), 1.0)]
    with pytest.raises(InvalidConfig, match="replay_share"):
        dataclasses.replace(config, replay_share=1.0)


def test_a_sample_in_the_model_folder_and_files_of_the_user_share_by_size(
    play, store, annotations, config, tmp_path, tiny_model
) -> None:
    model = tmp_path / "with_sample"
    shutil.copytree(tiny_model, model)
    (model / "replay").mkdir()
    write_coco(cut(annotations, 0, 2), model / "replay" / "annotations.json")
    write_coco(cut(annotations, 2, 5), tmp_path / "mine.json")
    Registry(store).promote(Registry(store).add(model))
    mine = dataclasses.replace(config, replay=(DataSource(str(tmp_path / "mine.json"), config.images),))
    (_, new_share), *replayed = play(cut(annotations, 5, 8), mine)
    assert [share for _, share in replayed] == pytest.approx([0.2, 0.3])
    assert new_share == 0.5

    (_, _), *replayed = play(annotations, mine)  # the sample stays with the models that descend from it
    assert names_of(cut(annotations, 0, 2)) in [names for names, _ in replayed]


def test_ids_of_what_is_remembered_do_not_clash(play, store, annotations, config) -> None:
    play(cut(annotations, 0, 5), config)
    renamed = tuple(dataclasses.replace(image, file_name=f"new_{image.file_name}") for image in annotations.images)
    assert play(dataclasses.replace(annotations, images=renamed), dataclasses.replace(config, held_back_share=1e-9))


def test_rounds_on_another_folder_are_left_out_with_a_warning(play, annotations, config, caplog) -> None:
    play(cut(annotations, 0, 5), config)
    elsewhere = dataclasses.replace(config, images="s3://other/photos")
    assert play(cut(annotations, 5, 8), elsewhere) == [(names_of(cut(annotations, 5, 8)), 1.0)]
    assert "--replay" in caplog.text


def test_the_report_tells_where_the_images_are(play, store, annotations, config) -> None:
    play(annotations, config)
    name = store.read_pointer("reports/current")
    assert json.loads(store.read_bytes(f"reports/{name}/report.json"))["images"] == config.images
