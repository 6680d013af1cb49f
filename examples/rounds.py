"""Rounds of simulated annotators, who know the truth and click with some error, and of the model that learns from them.

``ten_rounds`` plays them with a team on photos of athletes, ``mouse_rounds`` on frames of a mouse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation
from clickpose.training.config import TrainConfig
from integrations.coco import read_coco, write_coco
from integrations.label_studio.provenance import KeypointRecord
from pipeline.gold import name_gold, named_gold
from pipeline.progress_report import RoundLine, progress_lines
from pipeline.registry import Registry
from pipeline.retrain import Collected, RetrainConfig, retrain
from pipeline.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_GOLD = 30
ANNOTATORS = ("ann", "bob")
CLICK_ERROR = 0.02  # standard deviation, in square roots of the person's area
LEAD_TIME_S = 30.0


@dataclass(frozen=True)
class Team:
    """Simulated annotators, and all that they share.

    Attributes:
        truth: what they see in the images; the first ones are the gold images, the next ones are annotated in turn.
        images: folder of the images.
        out: folder for the store and the annotations.
        images_per_round: how many are annotated in each.
    """

    truth: AnnotationSet
    images: Path
    out: Path
    images_per_round: int = 20

    @property
    def store(self) -> Store:
        """Where models, snapshots and reports are."""
        return Store(self.out / "store")

    def gold(self) -> list[AnnotatedImage]:
        """Return the images that every model is compared on."""
        return list(self.truth.images[:NUM_GOLD])

    def batch(self, number: int) -> list[AnnotatedImage]:
        """Return what is annotated in a round."""
        first = NUM_GOLD + (number - 1) * self.images_per_round
        rng = np.random.default_rng(number)
        return [annotated(image, rng) for image in self.truth.images[first : first + self.images_per_round]]

    def annotator_of(self, image: AnnotatedImage) -> str:
        """Return who annotates an image."""
        return ANNOTATORS[image.id % len(ANNOTATORS)]

    def submit(self, number: int, batch: Sequence[AnnotatedImage]) -> None:
        """Write the annotations of a round."""
        self._file_of(number).parent.mkdir(parents=True, exist_ok=True)
        write_coco(replace(self.truth, images=tuple(batch)), self._file_of(number))

    def collected(self, number: int) -> Collected:
        """Return everything that was annotated up to a round, and who placed each keypoint."""
        images = self.gold()
        for one in range(1, number + 1):
            images += read_coco(self._file_of(one)).images
        records = [record for image in images for record in self._records_of(image)]
        return Collected(replace(self.truth, images=tuple(images)), records)

    def _file_of(self, number: int) -> Path:
        return self.out / "annotated" / f"{number:02d}.json"

    def _records_of(self, image: AnnotatedImage) -> list[KeypointRecord]:
        names, user = self.truth.skeleton.keypoints, self.annotator_of(image)
        return [
            KeypointRecord(image.id, image.id, person.id, names[k], "placed", 2, user, "", LEAD_TIME_S, "")
            for person in image.persons
            for k in np.flatnonzero(person.visibility)
        ]


def annotated(image: AnnotatedImage, rng: np.random.Generator) -> AnnotatedImage:
    """Return an image as an annotator clicks it, with an error on each keypoint."""

    def clicked(person: PersonAnnotation) -> PersonAnnotation:
        error = rng.normal(0, CLICK_ERROR * person.area_px**0.5, person.keypoints_px.shape)
        keypoints_px = np.clip(person.keypoints_px + error, 0, np.array(image.size_wh) - 1)
        shown = person.visibility[:, None] > 0
        return replace(person, keypoints_px=np.where(shown, keypoints_px, 0).astype(np.float32))

    return replace(image, persons=tuple(map(clicked, image.persons)))


def begin(team: Team, first_model: Callable[[], Path]) -> None:
    """Promote the model to start from, and name the gold images, unless that was done before."""
    registry = Registry(team.store)
    if registry.current() is None:
        registry.promote(registry.add(first_model()))
    if not named_gold(team.store):
        name_gold(team.store, [image.file_name for image in team.gold()])


def retrain_in_round(team: Team, number: int, training: TrainConfig) -> None:
    """Retrain on everything that was annotated up to a round."""
    config = RetrainConfig(str(team.images), training, held_back_share=0)  # compared on the gold images only
    report = retrain(team.store, lambda: team.collected(number), config)
    print(f"round {number}: {report.challenger}: {report.reason}", flush=True)


def in_service(lines: Sequence[RoundLine]) -> list[float]:
    """Return the clicks per person of the first model, and of the one that each round left in service."""
    after = [line.challenger if line.round.promoted else line.champion for line in lines]
    return [float("nan") if clicks is None else clicks for clicks in (lines[0].champion, *after)]


def tell_clicks(team: Team) -> str:
    """Return the clicks per person before the first round and after each, as two lines of text."""
    clicks = " ".join(f"{clicks:.2f}" for clicks in in_service(progress_lines(team.store)))
    return f"clicks per person on the gold images, before the first round and after each:\n  {clicks}"


def draw_clicks(team: Team) -> tuple[Figure, Axes]:
    """Draw clicks per person over rounds."""
    from matplotlib.figure import Figure

    lines = progress_lines(team.store)
    figure = Figure((8, 4), layout="constrained")
    axes = figure.subplots()
    axes.step(range(len(lines) + 1), in_service(lines), "o-", where="post", label="model in service")
    tried = [float("nan") if line.challenger is None else line.challenger for line in lines]
    axes.plot(range(1, len(lines) + 1), tried, "x", color="tab:gray", label="challenger of the round")
    axes.set(xlabel="round", ylabel="clicks per person, gold images", xticks=range(len(lines) + 1))
    axes.legend(loc="upper right")
    return figure, axes
