"""The truth, disturbed, before and after the pose layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from clickpose.annotations import AnnotatedImage, AnnotationSet, Pose
from clickpose.evaluation.plots import sensitivity_curve
from clickpose.evaluation.sensitivity import SensitivityMeter
from clickpose.evaluation.visits import visit_images
from clickpose.synthetic import DrawnPeople
from tests.clickpose.evaluation_fakes import COCO17, Listener, by_hand, record

PEOPLE = DrawnPeople(COCO17, num_images=3, max_persons=2).annotations


class Repairer(Listener):
    """Moves every keypoint ``share`` of the way to the truth."""

    share = 1.0

    def look_again(self, encoded: AnnotatedImage, poses: Sequence[Pose]) -> list[Pose]:
        return [self._repair(pose, encoded) for pose in poses]

    def _repair(self, pose: Pose, image: AnnotatedImage) -> Pose:
        truth = min(self.persons[image.id], key=lambda person: np.abs(person.box_px - pose.box_px).sum())
        return replace(pose, keypoints_px=pose.keypoints_px + self.share * (truth.keypoints_px - pose.keypoints_px))


def measure(share: float) -> list[tuple[float, float]]:
    repairer = Repairer(PEOPLE, by_hand(PEOPLE, 0))
    repairer.share = share
    meter = SensitivityMeter(repairer, (0.0, 0.1, 0.4))
    visit_images(repairer, PEOPLE, record, [meter])
    return [(level.given_ap, level.answered_ap) for level in meter.result(PEOPLE)]


def test_the_truth_is_right_and_noise_makes_it_worse() -> None:
    (clean, _), (a_little, _), (much, _) = measure(share=0.0)
    assert clean == pytest.approx(1.0)
    assert clean > a_little > much
    assert measure(share=0.0) == [(ap, ap) for ap in (clean, a_little, much)]


def test_what_the_model_repairs_is_told_beside_it() -> None:
    assert [answered for _, answered in measure(share=1.0)] == pytest.approx([1.0, 1.0, 1.0])
    for given, answered in measure(share=0.5)[1:]:
        assert given < answered < 1


def test_keypoints_without_a_label_are_the_model_s_own() -> None:
    blind = tuple(replace(p, visibility=np.arange(17) % 2) for p in PEOPLE.images[0].persons)
    image = replace(PEOPLE.images[0], persons=blind)
    repairer = Repairer(PEOPLE, by_hand(PEOPLE, 0))
    meter = SensitivityMeter(repairer, (0.0,))
    visit_images(repairer, replace(PEOPLE, images=(image,)), record, [meter])
    for pose, person in zip(meter.given[0][image.id], blind, strict=True):
        middle_px = (person.box_px[:2] + person.box_px[2:]) / 2  # where recorded results add all keypoints
        assert pose.keypoints_px[::2] == pytest.approx(np.tile(middle_px, (9, 1)), abs=1)
        assert pose.keypoints_px[1::2] == pytest.approx(person.keypoints_px[1::2])


def test_the_curve_has_a_line_for_each() -> None:
    people = AnnotationSet(COCO17, PEOPLE.images[:1])
    repairer = Repairer(people, by_hand(people, 0))
    meter = SensitivityMeter(repairer, (0.0, 0.4))
    visit_images(repairer, people, record, [meter])
    answered, given = sensitivity_curve(meter.result(people)).axes[0].lines
    assert list(answered.get_xdata()) == list(given.get_xdata()) == [0.0, 0.4]
    assert answered.get_ydata()[1] > given.get_ydata()[1]
