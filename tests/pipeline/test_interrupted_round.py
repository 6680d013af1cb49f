"""A round that is killed anywhere ends as the undisturbed one would, trains nothing twice and leaves nothing behind."""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from clickpose.annotations import AnnotationSet
from clickpose.training.config import TrainConfig
from integrations.store import HISTORY
from pipeline import retrain as rounds
from pipeline import round_report
from pipeline.compare import Comparison
from pipeline.gate import Verdict
from pipeline.gold import name_gold
from pipeline.registry import Registry
from pipeline.retrain import Collected, RetrainConfig, RoundReport, retrain
from pipeline.round_report import latest_report
from pipeline.snapshot import current_snapshot
from pipeline.store import Store

EPOCHS = 2


class Killed(BaseException):
    """What happens to a process that gets signal 9: no handler runs that could tidy up the store."""


class Killer:
    """Kills the process before its n-th change of any store, from then on always; None lets it live."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_changes, self.kill_before = 0, None
        for name in ("write_bytes", "delete"):
            monkeypatch.setattr(Store, name, self.wrap(getattr(Store, name)))

    def wrap(self, change: Callable[..., None]) -> Callable[..., None]:
        def counted(store: Store, name: str, *args: bytes) -> None:
            if name != "lease.json":  # the real lease ends with its process; here they are all one
                if self.num_changes == self.kill_before:
                    raise Killed
                self.num_changes += 1
            change(store, name, *args)

        return counted


class Players:
    """Stand-ins for what takes long, that leave in the store what the real ones leave, and count."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained: list[int] = []
        self.compared = self.predicted = 0
        monkeypatch.setattr(rounds, "train", self.train)

    def train(self, job, out, *, run, **options: int) -> None:
        store = Store(run)
        done = store.read_json("state.json") if store.exists("state.json") else 0
        for epoch in range(done, EPOCHS):
            store.write_json("state.json", epoch + 1)
            self.trained.append(epoch)
        shutil.copytree(job.start, out, ignore=shutil.ignore_patterns("record.json"))

    def compare(self, *_: object) -> Comparison:
        self.compared += 1
        return Comparison({"clicks@90": 9.0}, {"clicks@90": 8.0}, Verdict(True, "because I say so"))

    def predict(self, version: str) -> None:
        self.predicted += 1


@pytest.fixture
def players(monkeypatch: pytest.MonkeyPatch) -> Players:
    for draw in ("click_curve", "click_bars"):
        monkeypatch.setattr(round_report, draw, lambda models: Figure((1, 1)))
    return Players(monkeypatch)


@pytest.fixture
def model(model: Path) -> Path:
    """A model folder that may be added to a registry."""
    for name in ("config.json", "metrics.json", "card.md"):
        (model / name).write_text("{}")
    return model


@pytest.fixture
def begin(tmp_path: Path, model: Path) -> Callable[[], Store]:
    """Make a fresh store with a current model."""
    count = iter(range(1000))

    def make() -> Store:
        store = Store(tmp_path / f"store{next(count)}")
        Registry(store).promote(Registry(store).add(model))
        return store

    return make


def play(store: Store, annotations: AnnotationSet, players: Players, **changes: object) -> RoundReport:
    config = RetrainConfig("images", TrainConfig(), held_back_share=0.4)
    return retrain(
        store,
        lambda: Collected(annotations),
        dataclasses.replace(config, **changes),
        compare=players.compare,
        judge=lambda *_: [],
        on_promoted=players.predict,
    )


def state_of(store: Store) -> dict[str, object]:
    """Everything that must not depend on interruptions."""
    registry = Registry(store)
    report = latest_report(store)
    assert report is not None
    return {
        "versions": registry.versions(),
        "current": registry.current(),
        "events": [(event["action"], event["version"], event["line"]) for event in store.read_json(HISTORY)],
        "report": dataclasses.replace(report, finished_at=""),
        "folders": {name: store.folders(name) for name in ("models", "annotations", "reports", "runs")},
        "snapshot": current_snapshot(store),
    }


def test_killed_twice_at_any_step_a_round_ends_the_same(begin, annotations, players, monkeypatch) -> None:
    store = begin()
    killer = Killer(monkeypatch)
    play(store, annotations, players)
    wanted, num_steps = state_of(store), killer.num_changes
    assert num_steps > 20

    for step in range(num_steps):
        store, players.trained, players.compared = begin(), [], 0
        for later in (step, step // 2):
            killer.num_changes, killer.kill_before = 0, later
            with contextlib.suppress(Killed):
                play(store, annotations, players)
        killer.kill_before = None
        play(store, annotations, players)
        assert state_of(store) == wanted, f"killed before change {step}"
        assert players.trained == list(range(EPOCHS))


def kill_before_closing(store: Store, annotations: AnnotationSet, players: Players) -> str:
    """Let a round die when it has promoted its challenger; return the challenger."""

    def die(version: str) -> None:
        raise Killed

    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(players, "predict", die)
        play(store, annotations, players)
    version = Registry(store).current()
    assert version is not None
    return version


def test_the_last_step_is_done_again(begin, annotations, players) -> None:
    store = begin()
    kill_before_closing(store, annotations, players)
    assert players.predicted == 0
    assert play(store, annotations, players).promoted
    assert players.predicted == 1


def test_a_rollback_in_between_is_not_undone(begin, annotations, players) -> None:
    store = begin()
    kill_before_closing(store, annotations, players)
    champion = Registry(store).rollback()
    report = play(store, annotations, players)
    assert Registry(store).current() == champion
    assert not report.promoted
    assert "rolled back meanwhile" in report.reason


def test_a_promotion_by_hand_in_between_is_not_undone(begin, annotations, players, model, monkeypatch) -> None:
    store, by_hand = begin(), []

    def compare(*_: object) -> Comparison:
        by_hand.append(Registry(store).add(model))
        Registry(store).promote(by_hand[0])
        return players.compare()

    config = RetrainConfig("images", TrainConfig(), held_back_share=0.4)
    report = retrain(store, lambda: Collected(annotations), config, compare=compare, judge=lambda *_: [])
    assert not report.promoted
    assert Registry(store).current() == by_hand[0]


@pytest.mark.parametrize("change", ["settings", "gold"])
def test_a_round_begun_under_other_settings_is_dropped(begin, annotations, players, change) -> None:
    store = begin()
    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(players, "compare", lambda *_: (_ for _ in ()).throw(Killed))
        play(store, annotations, players)
    (begun,) = store.folders("runs")
    if change == "gold":
        name_gold(store, [annotations.images[0].file_name])
    report = play(store, annotations, players, held_back_share=0.5 if change == "settings" else 0.4)
    assert report.round != begun
    assert store.folders("runs") == []
    assert players.trained == [0, 1, 0, 1]


def test_a_round_resumes_however_many_new_images_are_asked_for_now(begin, annotations, players) -> None:
    store = begin()
    with pytest.raises(Killed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(players, "compare", lambda *_: (_ for _ in ()).throw(Killed))
        play(store, annotations, players, min_new_pictures=2)
    (begun,) = store.folders("runs")
    assert play(store, annotations, players, min_new_pictures=1).round == begun
    assert players.trained == [0, 1]


def test_what_was_annotated_meanwhile_waits_for_the_next_round(begin, annotations, players) -> None:
    store = begin()
    few = dataclasses.replace(annotations, images=annotations.images[:5])
    kill_before_closing(store, few, players)
    assert play(store, annotations, players).snapshot == current_snapshot(store)
    report = play(store, annotations, players)
    assert report.challenger is not None
    assert report.snapshot == current_snapshot(store)


def test_what_interrupted_writers_left_is_swept_away(begin, annotations, players) -> None:
    store = begin()
    for name in ("models/v0007-00000000/config.json", "annotations/s-0/annotations.json", "runs/old/train.json"):
        store.write_bytes(name, b"half")
    play(store, annotations, players)
    assert "v0007-00000000" not in store.folders("models")
    assert "s-0" not in store.folders("annotations")
    assert store.folders("runs") == []
