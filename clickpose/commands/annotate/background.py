"""Work in the background while an annotator works: photos are labelled, and the model learns from corrections."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from clickpose.checkpoints.files import CONFIG
from clickpose.commands.annotate.desk import TITLE, Desk
from clickpose.commands.collecting import Project, collect
from clickpose.commands.predict_again import predict_again
from clickpose.commands.pushing import predicted_images
from clickpose.errors import ClickPoseError
from clickpose.training.config import fine_tuning_for
from integrations.label_studio.pushing import Pushed, push
from integrations.store import MODELS
from pipeline.beside import beside
from pipeline.dataset import FETCHED
from pipeline.prelabel import PrelabelOptions, PrelabelSummary, prelabel
from pipeline.registry import Registry
from pipeline.retrain import Collected, RetrainConfig, retrain
from pipeline.round_report import RoundReport
from pipeline.watch import Schedule, watch

SHARD_SIZE = 8  # photos that are labelled before the next ones appear as tasks
FIRST_PUSH_S, PUSH_GROWTH = 3.0, 1.5  # tasks appear soon; later, when there are many, less often
LOOK_S = 60.0

logger = logging.getLogger(__name__)


class Background:
    """Labels, then retrains.

    Args:
        desk: everything that is running.
        rounds: settings of a round, such as ``min_new_pictures``; see ``RetrainConfig``.
        tell: receives a line about each event.
    """

    def __init__(self, desk: Desk, tell: Callable[[str], None], **rounds: Any) -> None:
        self.desk, self.tell = desk, tell
        self.registry = Registry(desk.store)
        images = "\n".join([str(desk.photos), desk.store.uri_of(FETCHED)])
        training = fine_tuning_for(desk.store.read_json(f"{MODELS}/{self.current()}/{CONFIG}"))
        self.config = RetrainConfig(images, training, num_workers=1, **rounds)

    def run(self) -> None:
        """Label, then look for new annotations again and again; only Ctrl-C ends it.

        Not in a thread of its own: a thread that still uses Ray while the program leaves it ends the program at once,
        and what Ray has started stays behind.
        """
        try:
            self.label()
        except ClickPoseError as error:
            self.tell(f"labelling stopped: {error}")
            threading.Event().wait()  # what is labelled can be annotated all the same
        schedule, told = Schedule(every_s=LOOK_S, check_s=LOOK_S, settle_s=1.0), ""
        for report in watch(lambda is_due: self.retrain(), schedule, self.desk.annotated):
            outcome = f"{report.challenger or 'no new model'}: {report.reason}"
            if outcome != told and len(report.newest) >= self.config.min_new_pictures:
                self.tell(outcome)  # once, not every minute
            told = outcome

    def label(self) -> PrelabelSummary:
        """Label every photo with the current model; the first model's predictions become tasks as they come."""
        version, out = self.current(), self.prelabels()
        model = self.registry.fetch(version)
        is_first = len(self.registry.history()) == 1
        with beside(partial(self._push_until, out)) if is_first else nullcontext():
            summary = prelabel(self.desk.photos, out, model, PrelabelOptions(SHARD_SIZE, num_workers=1))
        self._push(out)
        failed = f", {summary.num_failed} could not be read: see {out}" if summary.num_failed else ""
        self.tell(f"{summary.num_labelled + summary.num_kept} photos labelled by {version}{failed}")
        return summary

    def retrain(self) -> RoundReport:
        """Run a round if enough is new; a better model updates the predictions of images without an annotation."""
        return retrain(self.desk.store, self.collect, self.config, on_promoted=self._predict_again)

    def _predict_again(self, version: str) -> None:
        project = Project(self.desk.label_studio_url, TITLE, self.config.images)
        predict_again(project, self.desk.store, version, num_workers=1)

    def collect(self) -> Collected:
        """Return all annotations."""
        desk, model = self.desk, self.registry.fetch(self.current())
        return collect(Project(desk.label_studio_url, TITLE, str(desk.photos)), model, desk.store, fetch=True)

    def current(self) -> str:
        """Return the version in service."""
        current = self.registry.current()
        assert current is not None  # the desk has promoted one
        return current

    def prelabels(self) -> str:
        """Return the URI of the predictions of the version in service."""
        return self.desk.store.uri_of(f"prelabels/{self.current()}")

    def _push_until(self, out: str, done: threading.Event) -> None:
        """Make tasks of what is labelled so far."""
        pause_s = FIRST_PUSH_S
        while not done.wait(pause_s):
            pause_s *= PUSH_GROWTH
            try:
                self._push(out)
            except ClickPoseError as error:  # the last push, after labelling, reports what persists
                logger.debug("no tasks yet: %s", error)

    def _push(self, out: str) -> Pushed:
        desk = self.desk
        images = predicted_images(out)(desk.label_studio, desk.project, None)
        return push(desk.label_studio, desk.project, images, desk.skeleton)
