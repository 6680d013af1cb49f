"""What the images drawn at random say of the model, and when a team may stop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation
from clickpose.skeleton import Skeleton
from integrations.label_studio.provenance import KeypointRecord
from pipeline.compare import ImageClicks
from pipeline.control_arm import Estimate, Outlook, drawn_at_random, estimate, outlook, remember_choices
from pipeline.round_report import RoundReport
from pipeline.selection import Choice
from pipeline.snapshot import take_snapshot
from pipeline.store import Store

SKELETON = Skeleton.load("coco17")


def image(number: int) -> AnnotatedImage:
    places = np.ones((17, 2), np.float32)
    box = np.array([0, 0, 9, 9], np.float32)
    person = PersonAnnotation(number, places, np.full(17, 2), box, 81.0)
    return AnnotatedImage(number, f"{number}.jpg", (10, 10), (person,))


def record(number: int, keypoint: int, source: str) -> KeypointRecord:
    return KeypointRecord(number, number, number, SKELETON.keypoints[keypoint], source, 2, "ann", "v1", 1.0, "")  # type: ignore[arg-type]


def finished(store: Store, by_image: tuple[ImageClicks, ...], records: list[KeypointRecord]) -> RoundReport:
    """A round with twenty images, of which the second ten are new."""
    snapshot = take_snapshot(store, AnnotationSet(SKELETON, tuple(image(i) for i in range(1, 21))), records)
    newest = tuple(f"{i}.jpg" for i in range(11, 21))
    return RoundReport("r", "v1", "v2", snapshot.id, True, "", {}, {}, 20, 5, "2026", by_image=by_image, newest=newest)


def choose(store: Store, run: str, **is_control: bool) -> None:
    choices = [Choice(f"{name[1:]}.jpg", "", drawn) for name, drawn in is_control.items()]
    remember_choices(Store(store.uri_of(f"prelabels/{run}")), "mix", choices)


def test_every_call_of_select_is_remembered_in_every_run(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert drawn_at_random(store) == frozenset()
    choose(store, "first", _1=True, _2=False)
    choose(store, "first", _3=True)
    choose(store, "second", _4=True)
    assert drawn_at_random(store) == {"1.jpg", "3.jpg", "4.jpg"}


def test_clicks_left_are_corrections_on_new_images_drawn_at_random(tmp_path: Path) -> None:
    store = Store(tmp_path)
    choose(store, "first", _11=True, _12=True, _13=False, _2=True)
    records = [
        *(record(11, k, "moved") for k in range(3)),
        record(12, 0, "placed"),
        record(12, 1, "accepted"),
        *(record(13, k, "moved") for k in range(9)),  # chosen
        *(record(2, k, "moved") for k in range(9)),  # of an earlier round
    ]
    told = outlook(store, [finished(store, (), records)])
    assert told.num_drawn == 2 and told.clicks_left is not None and told.clicks_left.value == 2
    assert (told.clicks_left.low, told.clicks_left.high) == (1, 3)
    assert "by 2 images drawn at random: 2.00 (1.00 to 3.00)" in told.in_words()


def test_a_saving_is_that_of_the_last_round_per_hundred_new_images(tmp_path: Path) -> None:
    store = Store(tmp_path)
    saved = tuple(ImageClicks(f"{i}.jpg", 2, 10, 9 - i % 2) for i in range(20))
    told = outlook(store, [finished(store, saved, [])])
    assert told.clicks_left is None and told.saving is not None
    assert told.saving.value == pytest.approx(0.75 * 100 / 10)
    assert told.saving.low < told.saving.value < told.saving.high
    assert "No image of the last round was drawn at random" in told.in_words()
    assert outlook(store, [finished(store, (), [])]).saving is None


@pytest.mark.parametrize(("promoted", "saved"), [(True, 1.5), (False, 0.5)])
def test_a_saving_is_that_of_the_last_hundred_images(tmp_path: Path, promoted: bool, saved: float) -> None:
    def round_of_sixty(clicks: float, *, promoted: bool) -> RoundReport:
        measured = tuple(ImageClicks(f"{i}.jpg", 2, 10, 10 - clicks) for i in range(20))
        newest = tuple(f"new{i}.jpg" for i in range(60))
        return replace(finished(store, measured, []), newest=newest, promoted=promoted)

    store = Store(tmp_path)
    rounds = [
        round_of_sixty(9.0, promoted=True),  # before the last hundred images
        round_of_sixty(1.0, promoted=promoted),
        round_of_sixty(0.5, promoted=False),  # the last one counts in any case
    ]
    told = outlook(store, rounds)
    assert told.num_last == 120 and told.saving is not None
    assert told.saving.value == pytest.approx(saved / 2 * 100 / 120)
    assert "if they help like the last 120: " in told.in_words()


@pytest.mark.parametrize(
    ("low", "high", "advice"), [(-0.1, 0.04, "Stop:"), (0.06, 0.2, "Continue:"), (-0.1, 0.2, "Continue for now:")]
)
def test_a_team_may_stop_once_more_images_surely_save_little(low: float, high: float, advice: str) -> None:
    assert Outlook(None, 0, Estimate((low + high) / 2, low, high)).advice.startswith(advice)


def test_an_estimate_is_as_certain_as_its_images_are_many() -> None:
    assert estimate([], []) is None and estimate([1], [0]) is None
    few, many = (estimate([0, 1, 2, 3] * n, [1, 1, 1, 1] * n) for n in (2, 50))
    assert few is not None and many is not None and few.value == many.value == 1.5
    assert few.low < many.low < 1.5 < many.high < few.high
