"""The demo step by step; every number it prints is measured in this run."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import httpx

from clickpose.annotations import Pose
from clickpose.commands.demo.pictures import DemoPictures
from clickpose.commands.demo.player import AnnotationCost, Player
from clickpose.commands.demo.stack import USER, Stack
from clickpose.errors import LabelStudioError
from clickpose.skeleton import Skeleton
from clickpose.training.config import fine_tuning_for
from integrations.label_studio.interface import labelling_interface
from integrations.label_studio.tasks import make_prediction, make_task, read_export, to_annotation_set
from integrations.store import MODELS
from pipeline.gate import GateRule
from pipeline.prelabel import prelabel
from pipeline.registry import Registry
from pipeline.retrain import Collected, RetrainConfig, retrain
from pipeline.round_report import RoundReport
from pipeline.shards import read_prelabels
from pipeline.store import Store

logger = logging.getLogger(__name__)

TITLE = "Click-Pose demo"
HELD_BACK_SHARE = 0.4
WEBHOOK_LIMIT_S = 30.0
SWAP_LIMIT_S = 60.0
HEARTBEAT_S = 0.5


@dataclass
class Story:
    """What has happened.

    Attributes:
        pictures: pre-labelled.
        persons: annotated through Label Studio.
        failed_pictures: that could not be pre-labelled.
        annotated: costs of the images that were handed in.
        before: costs of the unseen images with the first model.
        after: costs of the same images with the model in service at the end.
        exported: annotations that came back.
        webhooks: events that arrived by themselves.
        heartbeats: requests to the service during the round, and how many of them failed.
        round: how retraining ended.
        poses: by file name, poses at first and at last, for the report.
        models: versions that served, in order.
        seconds: of each step by name.
    """

    pictures: int = 0
    failed_pictures: int = 0
    annotated: AnnotationCost = field(default_factory=AnnotationCost)
    before: AnnotationCost = field(default_factory=AnnotationCost)
    after: AnnotationCost = field(default_factory=AnnotationCost)
    exported: int = 0
    webhooks: int = 0
    heartbeats: list[int] = field(default_factory=lambda: [0, 0])
    round: RoundReport | None = None
    poses: dict[str, tuple[Sequence[Pose], Sequence[Pose]]] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


class Demo:
    """The loop, once around.

    Args:
        stack: everything that is running.
        store: with the demo model promoted.
        pictures: to annotate and to measure on.
        skeleton: of the demo model.
        tell: is given one line before each step.
    """

    def __init__(
        self, stack: Stack, store: Store, pictures: DemoPictures, skeleton: Skeleton, tell: Callable[[str], None]
    ) -> None:
        self.stack, self.store, self.pictures, self.skeleton, self.tell = stack, store, pictures, skeleton, tell
        self.registry, self.story = Registry(store), Story()
        self.tasks: dict[str, int] = {}
        self.project = self.backend = 0

    def run(self) -> Story:
        """Play the whole loop."""
        with self._step("pre-labelling with Ray Data"):
            predictions = self._prelabel(self._current(), self.pictures.files)
        with self._step("creating the project in Label Studio"):
            self._create_project(predictions)
        with self._step("measuring the first model on the unseen images, through Label Studio"):
            self.story.before = self._play(self.pictures.unseen, submit=False)
        with self._step("annotating the others, through Label Studio"):
            self.story.annotated = self._play(self.pictures.annotated, submit=True)
            self._count_webhooks()
        with self._step("retraining: snapshot, Ray Train, comparison, promotion"):
            self.story.round = self._retrain()
        if self.story.round.promoted:
            with self._step("new predictions for what is not annotated yet"):
                self._refresh_predictions()
        again = "measuring the model in service on the unseen images again"
        with self._step(again), self._copies(self.pictures.unseen):
            self.story.after = self._play(self.pictures.unseen, submit=False)
        return self.story

    def _prelabel(self, version: str, files: Sequence[Path]) -> dict[str, dict[str, object]]:
        """Return a prediction by file name."""
        out = self.store.uri_of(f"prelabels/{version}-{len(files)}")
        served = [self.stack.pictures / file.name for file in files]
        summary = prelabel(served, out, self.registry.fetch(version), shard_size=4, num_workers=1)
        self.story.pictures = self.story.pictures or summary.num_labelled
        self.story.failed_pictures += summary.num_failed
        return {
            Path(found.uri).name: {
                **make_prediction(found.poses, self.skeleton, found.size_wh, model_version=version),
                "size_wh": found.size_wh,
            }
            for found in read_prelabels(out)
        }

    def _create_project(self, predictions: dict[str, dict[str, object]]) -> None:
        label_studio, names = self.stack.label_studio, sorted(predictions)
        self.project = label_studio.create_project(TITLE, labelling_interface(self.skeleton))["id"]
        label_studio.add_local_files(self.project, str(self.stack.pictures))
        tasks = [self._task(name, predictions[name]) for name in names]
        self.tasks = dict(zip(names, label_studio.import_tasks(self.project, tasks), strict=True))
        url, secret = self.stack.service_url, self.stack.secret
        backend = label_studio.connect_backend(self.project, url, title="Click-Pose", user=USER, password=secret)
        self.backend = backend["id"]
        label_studio.add_webhook(self.project, f"{url}/webhook", secret=secret)
        label_studio.show_predictions_of(self.project, self._current())

    def _task(self, name: str, prediction: dict[str, object]) -> dict[str, object]:
        url = f"/data/local-files/?d={quote(f'{self.stack.pictures.name}/{name}')}"
        size_wh = prediction.pop("size_wh")
        return make_task(url, size_wh, file_name=name, predictions=[prediction])  # type: ignore[arg-type]

    def _play(self, names: Sequence[str], *, submit: bool) -> AnnotationCost:
        player = Player(self.stack.label_studio, self.backend, self.skeleton)
        total = AnnotationCost()
        for name in names:
            cost, first, last = player.annotate(self.tasks[name], self.pictures.truth[name], submit=submit)
            total.add(cost)
            if submit:
                self.story.poses[name] = (first, last)
            self.tell(f"  {name}: {cost.persons} persons, {cost.clicks} clicks")
        return total

    @contextmanager
    def _copies(self, names: Sequence[str]) -> Iterator[None]:
        """Have other tasks for these images: the service remembers what was done on the first ones a while ago."""
        originals = self.tasks
        wanted = [file for file in self.pictures.files if file.name in names]
        predictions = self._prelabel(self._current(), wanted)
        tasks = [self._task(name, predictions[name]) for name in names]
        ids = self.stack.label_studio.import_tasks(self.project, tasks)
        self.tasks = originals | dict(zip(names, ids, strict=True))
        try:
            yield
        finally:
            self.tasks = originals
            for task in ids:
                self.stack.label_studio.delete_task(task)

    def _count_webhooks(self) -> None:
        """Take in the events of all submissions; those that never come, the poll makes up for."""
        deadline = time.monotonic() + WEBHOOK_LIMIT_S
        while self.story.webhooks < len(self.pictures.annotated) and time.monotonic() < deadline:
            self.story.webhooks += self.stack.webhooks.acquire(timeout=1.0)

    def _retrain(self) -> RoundReport:
        config = RetrainConfig(
            images=str(self.stack.pictures),
            training=fine_tuning_for(self.store.read_json(f"{MODELS}/{self._current()}/config.json")),
            held_back_share=HELD_BACK_SHARE,
            num_workers=1,
            rule=GateRule(
                min_persons=10, min_images=4
            ),  # there are few images; a chance of .96 is asked for all the same
        )
        with self._heartbeat():
            report = retrain(self.store, self._collect, config)
            if report.promoted and report.challenger:
                self._wait_for_swap(report.challenger)
        return report

    def _collect(self) -> Collected:
        began = datetime.fromtimestamp(0, UTC)
        tasks = self.stack.label_studio.tasks(self.project, changed_since=began)
        found = read_export(tasks, self.skeleton).annotations
        self.story.exported = len(found)
        records = [record for annotation in found for record in annotation.records]
        return Collected(to_annotation_set(found, self.skeleton), records)

    def _wait_for_swap(self, version: str) -> None:
        """Wait until the service answers with a version.

        Raises:
            LabelStudioError: Label Studio still hears of another one.
        """
        deadline = time.monotonic() + SWAP_LIMIT_S
        while time.monotonic() < deadline:
            if self._served_version() == version:
                self.story.models.append(version)
                return
            time.sleep(HEARTBEAT_S)
        raise LabelStudioError(f"the service did not take up {version} within {SWAP_LIMIT_S:.0f} s")

    def _refresh_predictions(self) -> None:
        version, old = self._current(), self.story.models[0]
        waiting = [file for file in self.pictures.files if file.name not in self.pictures.annotated]
        predictions = self._prelabel(version, waiting)
        rows = [
            {**{k: v for k, v in prediction.items() if k != "size_wh"}, "task": self.tasks[name]}
            for name, prediction in predictions.items()
        ]
        self.stack.label_studio.add_predictions(self.project, rows)
        self.stack.label_studio.show_predictions_of(self.project, version)
        self.stack.label_studio.delete_predictions_of(self.project, old)

    @contextmanager
    def _heartbeat(self) -> Iterator[None]:
        """Ask the service for a pose again and again while the block runs; count what fails."""
        done = threading.Event()
        thread = threading.Thread(target=self._beat, args=(done,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _beat(self, done: threading.Event) -> None:
        task = self.stack.label_studio.task(self.tasks[self.pictures.unseen[0]])
        body = {"tasks": [{"id": task["id"], "data": task["data"]}], "project": f"{self.project}.0", "params": {}}
        with httpx.Client(auth=(USER, self.stack.secret), timeout=30.0) as client:
            while not done.wait(HEARTBEAT_S):
                self.story.heartbeats[0] += 1
                try:
                    answer = client.post(f"{self.stack.service_url}/predict", json=body)
                    is_good = answer.is_success and bool(answer.json()["results"])
                except httpx.TransportError:
                    is_good = False
                self.story.heartbeats[1] += not is_good

    def _served_version(self) -> str:
        body = {"project": f"{self.project}.0", "schema": "", "hostname": "", "access_token": ""}
        answer = httpx.post(f"{self.stack.service_url}/setup", json=body, auth=(USER, self.stack.secret))
        return str(answer.json()["model_version"])

    def _current(self) -> str:
        version = self.registry.current()
        assert version is not None
        if version not in self.story.models:
            self.story.models.append(version)
        return version

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self.tell(name)
        began = time.monotonic()
        yield
        self.story.seconds[name] = round(time.monotonic() - began, 1)
