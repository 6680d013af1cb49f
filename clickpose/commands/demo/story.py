"""The demo step by step; every number it prints is measured in this run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from clickpose.commands.annotate.background import Background
from clickpose.commands.annotate.desk import Desk
from clickpose.commands.demo.images import HELD_BACK_SHARE, DemoImages
from clickpose.commands.demo.player import AnnotationCost, Corrected, Player
from clickpose.commands.pushing import predicted_images
from clickpose.errors import LabelStudioError
from integrations.label_studio.projects import USER
from integrations.label_studio.tasks import make_prediction, make_task
from pipeline.beside import beside
from pipeline.gate import GateRule
from pipeline.round_report import RoundReport

FEW = GateRule(min_persons=10, min_images=4)  # there are few images; a chance of .96 is still required
SWAP_LIMIT_S = 60.0
HEARTBEAT_S = 0.5


@dataclass
class DemoRecord:
    """What happened in a demo.

    Attributes:
        num_labelled: pre-labelled images.
        num_failed: images that could not be pre-labelled.
        annotated: costs of the images that were submitted.
        before: costs of the unseen images with the first model.
        after: costs of the same images with the model in service at the end.
        exported: annotations that came back.
        heartbeats: requests to the service during the round, and how many of them failed.
        round: how retraining ended.
        corrected: the images that were submitted, by file name.
        models: versions that served, in order.
        seconds: of each step by name.
    """

    num_labelled: int = 0
    num_failed: int = 0
    annotated: AnnotationCost = field(default_factory=AnnotationCost)
    before: AnnotationCost = field(default_factory=AnnotationCost)
    after: AnnotationCost = field(default_factory=AnnotationCost)
    exported: int = 0
    heartbeats: list[int] = field(default_factory=lambda: [0, 0])
    round: RoundReport | None = None
    corrected: dict[str, Corrected] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


class Demo:
    """The loop, once around.

    Args:
        desk: everything that is running.
        images: to annotate and to measure on.
        tell: receives a line before each step.
    """

    def __init__(self, desk: Desk, images: DemoImages, tell: Callable[[str], None]) -> None:
        self.desk, self.images, self.tell = desk, images, tell
        self.background = Background(desk, tell, held_back_share=HELD_BACK_SHARE, rule=FEW)
        self.story = DemoRecord()
        self.tasks: dict[str, int] = {}

    def run(self) -> DemoRecord:
        """Run the whole loop."""
        with self._step("pre-labelling with Ray Data"):
            self._label()
        with self._step("measuring the first model on the unseen images, through Label Studio"):
            self.story.before = self._play(self.images.unseen, submit=False)
        with self._step("annotating the others, through Label Studio"):
            self.story.annotated = self._play(self.images.annotated, submit=True)
            self.story.exported = len(self.background.collect().annotations)
        with self._step("retraining: snapshot, Ray Train, comparison, promotion"), beside(self._beat):
            self.story.round = self.background.retrain()
            if self.story.round.promoted:
                self._wait_for_swap(self.background.current())
        if self.story.round.promoted:
            with self._step("new predictions"):
                self._label()
        again = "measuring the model in service on the unseen images again"
        with self._step(again), self._copies(self.images.unseen):
            self.story.after = self._play(self.images.unseen, submit=False)
        return self.story

    def _label(self) -> None:
        summary = self.background.label()
        self.story.num_labelled, self.story.num_failed = summary.num_labelled, summary.num_failed
        self.story.models.append(summary.model_version)
        project = self.desk.label_studio.tasks(self.desk.project)
        self.tasks = {task["data"]["file_name"]: int(task["id"]) for task in project}

    def _play(self, names: Sequence[str], *, submit: bool) -> AnnotationCost:
        desk = self.desk
        backend = desk.label_studio.connect_backend(
            desk.project, desk.service_url, title="Click-Pose", user=USER, password=desk.secret
        )
        player, total = Player(desk.label_studio, backend["id"], desk.skeleton), AnnotationCost()
        for name in names:
            corrected = player.annotate(self.tasks[name], self.images.truth[name], submit=submit)
            cost = corrected.cost
            total.add(cost)
            if submit:
                self.story.corrected[name] = corrected
            self.tell(f"  {name}: persons {cost.persons}, clicks {cost.clicks}")
        return total

    @contextmanager
    def _copies(self, names: Sequence[str]) -> Iterator[None]:
        """Create new tasks for these images: the service still has sessions of the first ones."""
        desk, originals = self.desk, self.tasks
        predicted = predicted_images(self.background.prelabels())(desk.label_studio, desk.project, None)
        tasks = []
        for one in predicted:
            if one.name in names:
                prediction = make_prediction(one.poses, desk.skeleton, one.size_wh, model_version=one.model_version)
                tasks.append(make_task(one.address, one.size_wh, file_name=one.name, predictions=[prediction]))
        ids = desk.label_studio.import_tasks(desk.project, tasks)
        self.tasks = originals | {task["data"]["file_name"]: number for task, number in zip(tasks, ids, strict=True)}
        try:
            yield
        finally:
            self.tasks = originals
            for number in ids:
                desk.label_studio.delete_task(number)

    def _wait_for_swap(self, version: str) -> None:
        """Wait until the service answers with a version.

        Raises:
            LabelStudioError: it still answers with another one.
        """
        deadline = time.monotonic() + SWAP_LIMIT_S
        while time.monotonic() < deadline:
            if self._served_version() == version:
                return
            time.sleep(HEARTBEAT_S)
        raise LabelStudioError(f"the service did not load {version} within {SWAP_LIMIT_S:.0f} s")

    def _beat(self, done: threading.Event) -> None:
        """Request poses from the service repeatedly; count failures."""
        desk = self.desk
        task = desk.label_studio.task(self.tasks[self.images.unseen[0]])
        body = {"tasks": [{"id": task["id"], "data": task["data"]}], "project": f"{desk.project}.0", "params": {}}
        with httpx.Client(auth=(USER, desk.secret), timeout=30.0) as client:
            while not done.wait(HEARTBEAT_S):
                self.story.heartbeats[0] += 1
                try:
                    answer = client.post(f"{desk.service_url}/predict", json=body)
                    is_good = answer.is_success and bool(answer.json()["results"])
                except httpx.TransportError:
                    is_good = False
                self.story.heartbeats[1] += not is_good

    def _served_version(self) -> str:
        body = {"project": f"{self.desk.project}.0", "schema": "", "hostname": "", "access_token": ""}
        answer = httpx.post(f"{self.desk.service_url}/setup", json=body, auth=(USER, self.desk.secret))
        return str(answer.json()["model_version"])

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self.tell(name)
        began = time.monotonic()
        yield
        self.story.seconds[name] = round(time.monotonic() - began, 1)
