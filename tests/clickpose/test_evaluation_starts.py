"""Persons may be added by a click, and our loop may start from another model's poses."""

from typing import Any

import numpy as np
import pytest

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation, Pose
from clickpose.errors import InvalidConfig
from clickpose.evaluation import RecordedResults
from clickpose.evaluation.click_cost import clicks_per_person, shows_someone
from clickpose.evaluation.click_style import ClickStyle
from clickpose.evaluation.predictors import NamedImage, StartedFrom
from clickpose.poses import new_pose
from clickpose.skeleton import Skeleton

SKELETON = Skeleton("three", ("a", "b", "c"), (0.1, 0.1, 0.1))
TRUTH_PX = np.array([[10, 10], [20, 40], [15, 70]], np.float32)
BOX_PX = np.array([5, 5, 25, 75], np.float32)
PERSON = PersonAnnotation(1, TRUTH_PX, np.full(3, 2), BOX_PX, 700.0)
DATA = AnnotationSet(SKELETON, (AnnotatedImage(7, "a.jpg", (100, 100), (PERSON,)),))


class Knowing(RecordedResults):
    """Answers every click with the truth."""

    def refine(self, encoded: Any, poses: Any, clicks: Any, *, hold: str = "all") -> list[Pose]:
        return [new_pose(TRUTH_PX, BOX_PX, 1.0) for _ in poses]


def cost(predictor: Any, load: Any, **style: Any) -> float:
    return clicks_per_person(predictor, DATA, load, oks_threshold=0.85, style=ClickStyle(**style)).mean_clicks


@pytest.mark.parametrize(("add", "clicks"), [("box", 2 + 2), ("click", 1 + 2)])
def test_a_click_that_adds_a_person_places_a_keypoint_too(add: str, clicks: int) -> None:
    nobody = RecordedResults(SKELETON, {})  # of a box, all keypoints start in the middle: one is right there
    assert cost(nobody, lambda image: image, add=add) == clicks


def test_there_is_no_third_way_to_add_a_person() -> None:
    with pytest.raises(InvalidConfig, match="box, click"):
        ClickStyle(add="lasso")


def test_our_loop_refines_the_poses_of_others() -> None:
    wrong = {7: [new_pose(TRUTH_PX + 4, BOX_PX, 0.9)]}
    started = StartedFrom(Knowing(SKELETON, {}), wrong)
    assert cost(started, lambda image: NamedImage(image.id, image)) == 1
    assert cost(RecordedResults(SKELETON, wrong), lambda image: image) > 1


def test_a_pose_on_somebody_without_keypoints_is_not_spurious() -> None:
    unlabelled = PersonAnnotation(2, np.zeros((3, 2), np.float32), np.zeros(3, np.int64), BOX_PX, 700.0)
    image = AnnotatedImage(1, "a.jpg", (100, 100), (unlabelled,))
    assert shows_someone(new_pose(TRUTH_PX, BOX_PX, 1.0), image)
    assert not shows_someone(new_pose(TRUTH_PX, BOX_PX + 50, 1.0), image)
