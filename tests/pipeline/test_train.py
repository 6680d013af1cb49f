"""Training a model: what a run leaves behind, and that one which was interrupted ends like an unbroken one."""

import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.errors import InvalidAnnotation, InvalidConfig, TrainingDiverged
from clickpose.skeleton import Skeleton
from clickpose.training import state
from clickpose.training.config import TrainConfig
from clickpose.training.scenes import SceneConfig
from integrations.coco import write_coco
from pipeline import train_worker as worker
from pipeline.mixture import DataSource
from pipeline.run_log import read_log
from pipeline.trackers import trackers
from pipeline.train import TrainJob, TrainResult, train
from pipeline.validation import CLICKS, Validation


@pytest.fixture(scope="module")
def job(drawn_people, tiny_model) -> TrainJob:
    config = TrainConfig(
        epochs=3,
        batch_size=2,
        scenes_per_epoch=4,
        learning_rate=1e-3,
        num_denoised=4,
        augment=SceneConfig(canvas_sizes_px=((64, 64),), max_pictures=1),
    )
    return TrainJob(str(tiny_model), (DataSource(str(drawn_people / "annotations.json"), str(drawn_people)),), config)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A finished training, which all tests share and none changes."""

    result: TrainResult
    out: Path
    run: Path


@pytest.fixture(scope="module")
def trained(job, tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    return Trained(train(job, folder / "out", run=folder / "run"), folder / "out", folder / "run")


def same_weights(one: Path, other: Path) -> bool:
    ours, theirs = weights_of(one), weights_of(other)
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def weights_of(folder) -> dict[str, torch.Tensor]:
    return load_model(folder).network.state_dict()


class Stopped(BaseException):
    """What happens to a process that is killed."""


def watch_epochs(monkeypatch, stop_at: int | None = None) -> list[int]:
    """Return the list that the epochs of later runs are added to; a run that comes to ``stop_at`` dies there."""

    def draw_batches(job, model, data, epoch):
        if epoch == stop_at:
            raise Stopped
        epochs.append(epoch)
        return real(job, model, data, epoch)

    real, epochs = worker.epoch_batches, []
    monkeypatch.setattr(worker, "epoch_batches", draw_batches)
    return epochs


def watch_averages(monkeypatch) -> list[dict[str, torch.Tensor]]:
    """Return the list that the averaged weights of every epoch are added to."""

    def validate(validation, state, log):
        averages.append({name: value.clone() for name, value in state.average.state_dict().items()})
        return real(validation, state, log)

    real, averages = worker.validate, []
    monkeypatch.setattr(worker, "validate", validate)
    return averages


def test_a_job_there_and_back(job) -> None:
    for one in (job, dataclasses.replace(job, val=job.data[0])):
        assert TrainJob.from_dict(one.to_dict()) == one


def test_training_writes_a_model_that_has_moved(trained, tiny_model) -> None:
    assert not same_weights(tiny_model, trained.out)
    assert trained.result.metrics["train/loss"] > 0
    assert load_model(trained.out).metrics == trained.result.metrics
    assert str(tiny_model) in (trained.out / "card.md").read_text()


def test_the_log_tells_every_epoch(trained) -> None:
    log = read_log(str(trained.run))
    assert [entry["epoch"] for entry in log["epochs"]] == [0, 1, 2]
    assert (log["step"], log["total_steps"]) == (6, 6)


def test_every_epoch_is_measured_on_data_that_is_not_learned_and_the_best_is_kept(job, tmp_path, monkeypatch) -> None:
    clicks = iter([3.0, 1.0, 2.0])
    monkeypatch.setattr(Validation, "measure", lambda self, network: {CLICKS: next(clicks)})
    states = watch_averages(monkeypatch)
    result = train(dataclasses.replace(job, val=job.data[0]), tmp_path / "out", run=tmp_path / "run")
    assert [entry[CLICKS] for entry in read_log(str(tmp_path / "run"))["epochs"]] == [3.0, 1.0, 2.0]
    assert result.metrics[CLICKS] == 2.0 and result.best == str(tmp_path / "out-best")
    assert load_model(result.best).metrics == {CLICKS: 1.0}
    for folder, epoch in ((tmp_path / "out", 2), (tmp_path / "out-best", 1)):
        kept = weights_of(folder)
        assert all(torch.equal(kept[name], value) for name, value in states[epoch].items())


def test_what_is_measured_is_what_annotators_see_and_what_persons_cost(job, tiny_model) -> None:
    validation = Validation.open(job.data[0], load_model(tiny_model).skeleton, skip_bad=False)
    metrics = validation.measure(load_model(tiny_model).network)
    assert set(metrics) == {"val/AP", CLICKS, "val/manual_clicks"} and all(value >= 0 for value in metrics.values())


def test_tensorboard_finds_the_numbers_of_every_epoch(job, trained) -> None:
    (file,) = (trained.run / "events").iterdir()
    written = file.read_bytes()
    assert written.count(b"train/loss") == job.config.epochs


def test_mlflow_is_told_where_it_is_set_up(tmp_path, monkeypatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for epoch in range(2):  # the second time as a training that is resumed
        for tracker in trackers(str(tmp_path / "run"), {"epochs": 2}):
            tracker.log(epoch, {"train/loss": 1.0 - epoch})
    (run,) = mlflow.MlflowClient().search_runs(["1"])
    assert run.data.metrics["train/loss"] == 0.0 and run.data.params == {"epochs": "2"}


def test_an_interrupted_run_ends_like_an_unbroken_one(job, trained, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as dying:
        watch_epochs(dying, stop_at=2)
        with pytest.raises(Stopped):
            train(job, tmp_path / "resumed", run=tmp_path / "run")
    assert not (tmp_path / "resumed").exists()

    epochs = watch_epochs(monkeypatch)
    train(job, tmp_path / "resumed", run=tmp_path / "run")
    assert epochs == [2]
    assert same_weights(trained.out, tmp_path / "resumed")
    assert [entry["epoch"] for entry in read_log(str(tmp_path / "run"))["epochs"]] == [0, 1, 2]


@pytest.mark.parametrize("killed_after", [1, 2])
def test_killed_in_the_middle_of_an_epoch_a_run_ends_like_an_unbroken_one(
    job, trained, tmp_path, monkeypatch, killed_after
) -> None:
    often = dataclasses.replace(job, checkpoint_minutes=1e-9)
    steps, real = [], worker.Saver.save_if_due

    def save_and_die(saver, epoch, losses) -> None:
        real(saver, epoch, losses)
        steps.append(saver.state.step)
        if len(steps) == killed_after:
            raise Stopped

    monkeypatch.setattr(worker.Saver, "save_if_due", save_and_die)
    with pytest.raises(Stopped):
        train(often, tmp_path / "resumed", run=tmp_path / "run")
    train(often, tmp_path / "resumed", run=tmp_path / "run")

    assert steps == [1, 2, 3, 4, 5, 6]  # no step was done twice
    assert same_weights(trained.out, tmp_path / "resumed")
    assert read_log(str(tmp_path / "run"))["epochs"] == read_log(str(trained.run))["epochs"]


def test_a_loss_that_is_not_finite_ends_training_and_names_the_images(job, tmp_path, monkeypatch) -> None:
    real = state.total_loss

    def poisoned(output, targets, *args):
        loss, logs = real(output, targets, *args)
        counted.append(1)
        return (loss * float("nan") if len(counted) == 2 else loss), logs

    counted: list[int] = []
    monkeypatch.setattr(state, "total_loss", poisoned)
    with pytest.raises(TrainingDiverged, match=r"step 1 is nan; its images: drawn_0_\d+\.png") as error:
        train(job, tmp_path / "out", run=tmp_path / "run")
    model, data = job.open()
    monkeypatch.setattr("ray.train.get_context", lambda: SimpleNamespace(get_world_rank=int, get_world_size=lambda: 1))
    names = worker.epoch_batches(job, model, data, 0).names_in(1)
    assert len(names) == 2
    assert all(name.removeprefix("0/") in str(error.value) for name in names)


def test_a_finished_run_is_not_trained_again(job, trained, tmp_path, monkeypatch) -> None:
    epochs = watch_epochs(monkeypatch)
    assert train(job, tmp_path / "again", run=trained.run).metrics == trained.result.metrics
    assert epochs == []


def test_a_run_is_not_continued_under_other_settings(job, trained, tmp_path) -> None:
    longer = dataclasses.replace(job, config=dataclasses.replace(job.config, epochs=4))
    with pytest.raises(InvalidConfig, match="run"):
        train(longer, tmp_path / "out", run=trained.run)


def test_a_run_of_an_earlier_version_resumes(job, tmp_path) -> None:
    job = dataclasses.replace(job, config=dataclasses.replace(job.config, epochs=1))
    train(job, tmp_path / "out", run=tmp_path / "run")
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    settings["job"] |= {name: settings["job"]["data"][0][name] for name in ("annotations", "images")}
    del (
        settings["job"]["data"],
        settings["job"]["skip_bad"],
        settings["job"]["config"]["accumulate"],
        settings["job"]["config"]["denoising"],
    )
    (tmp_path / "run" / "settings.json").write_text(json.dumps(settings))
    train(job, tmp_path / "out", run=tmp_path / "run")
    with pytest.raises(InvalidConfig, match="run"):
        train(dataclasses.replace(job, skip_bad=False), tmp_path / "out", run=tmp_path / "run")


def test_data_without_persons_are_an_error_that_names_the_file(job, tmp_path) -> None:
    skeleton = Skeleton("other", ("tail",), (0.1,))
    write_coco(AnnotationSet(skeleton, (AnnotatedImage(1, "a.png", (8, 8)),)), tmp_path / "tails.json")
    with pytest.raises(InvalidAnnotation, match=r"tails\.json"):
        tails = (DataSource(str(tmp_path / "tails.json"), str(tmp_path)),)
        train(dataclasses.replace(job, data=tails), tmp_path / "out", run=tmp_path / "run")


def test_training_tells_when_it_cannot_mirror(job, tmp_path, caplog) -> None:
    model = load_model(job.start)
    nameless = dataclasses.replace(model.skeleton, name="mice", flip_pairs=())
    save_model(tmp_path / "start", model.network, nameless, metrics={}, card="")
    once = dataclasses.replace(job, config=dataclasses.replace(job.config, epochs=1))
    train(once, tmp_path / "model", run=tmp_path / "run")
    assert "not mirrored" not in caplog.text
    train(dataclasses.replace(once, start=str(tmp_path / "start")), tmp_path / "model", run=tmp_path / "other")
    assert "not mirrored: skeleton 'mice' has no pairs of left and right" in caplog.text


def test_workers_share_an_epoch_and_epochs_differ(job, monkeypatch) -> None:
    def scenes(rank: int, epoch: int) -> list[np.ndarray]:
        context = SimpleNamespace(get_world_rank=lambda: rank, get_world_size=lambda: 2)
        monkeypatch.setattr("ray.train.get_context", lambda: context)
        batches = worker.epoch_batches(job, model, data, epoch)
        return [batches[step].images.numpy() for step in range(len(batches))]

    model, data = job.open()
    drawn = [scenes(0, 0), scenes(1, 0), scenes(0, 1)]
    assert [len(batches) for batches in drawn] == [1, 1, 1]  # of 4 scenes, 2 a batch, each worker has one batch
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert np.array_equal(drawn[0], scenes(0, 0))


@pytest.mark.cluster
def test_training_on_ray_survives_the_death_of_a_worker(ray_cluster, job, tmp_path, monkeypatch) -> None:
    """Two workers; one of them dies once, after the first epoch; the run resumes and ends."""
    died = tmp_path / "died"
    root = os.fspath(tmp_path)

    def dying_worker(settings):
        real = worker.epoch_batches

        def draw_batches(job, model, data, epoch):
            import ray.train

            if epoch == 1 and ray.train.get_context().get_world_rank() == 1 and not died.exists():
                died.touch()
                os._exit(1)
            return real(job, model, data, epoch)

        worker.epoch_batches = draw_batches
        worker.train_worker(settings)

    monkeypatch.setattr("pipeline.train.train_worker", dying_worker)
    result = train(job, tmp_path / "out", run=f"{root}/run", num_workers=2)

    assert died.exists()
    assert np.isfinite(result.metrics["train/loss"])
    log = read_log(f"{root}/run")
    assert [entry["epoch"] for entry in log["epochs"]] == [0, 1, 2]
    assert log["total_steps"] == 3  # each of the two workers takes one of the two batches
    assert not same_weights(job.start, tmp_path / "out")
