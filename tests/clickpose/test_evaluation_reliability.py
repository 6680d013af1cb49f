"""A score is reliable when, of keypoints scored p, a share of p lies within tolerance."""

import numpy as np
import pytest

from clickpose.evaluation.reliability import (
    ReliabilityMeter,
    bins,
    expected_calibration_error,
    fit_calibration,
    fit_logistic,
)
from clickpose.evaluation.visits import visit_images
from clickpose.synthetic import DrawnPeople
from tests.clickpose.evaluation_fakes import COCO17, by_hand, labelled, record

CHANCES = np.random.default_rng(0).uniform(0.02, 0.98, 20_000).astype(np.float32)


def outcomes(chances: np.ndarray) -> np.ndarray:
    return (np.random.default_rng(1).random(len(chances)) < chances).astype(np.float32)


def test_scores_that_come_true_have_no_error() -> None:
    assert expected_calibration_error(CHANCES, outcomes(CHANCES)) < 0.02


def test_scores_that_are_always_too_sure_are_off_by_that_much() -> None:
    assert expected_calibration_error(np.full(1000, 0.9), outcomes(np.full(1000, 0.6))) == pytest.approx(0.3, abs=0.05)


def test_a_fitted_calibration_undoes_a_distortion() -> None:
    logits = np.log(CHANCES / (1 - CHANCES))
    distorted = 1 / (1 + np.exp(-(2.0 * logits + 1.0)))
    scale, shift = fit_calibration(distorted, outcomes(CHANCES))
    assert (scale, shift) == (pytest.approx(0.5, abs=0.05), pytest.approx(-0.5, abs=0.1))


def test_bins_cover_all_keypoints_once() -> None:
    edges = np.array([0.0, 0.1, 0.99, 1.0], np.float32)
    assert sum(b.share for b in bins(edges, np.ones(4, np.float32))) == pytest.approx(1.0)


def test_the_meter_takes_labelled_keypoints_of_persons_shown() -> None:
    people = DrawnPeople(COCO17, num_images=3, seed=3).annotations
    meter = ReliabilityMeter(COCO17)
    visit_images(by_hand(people, num_wrong=3), people, record, [meter])
    persons = [person for image in people.images for person in image.persons]
    assert len(meter.chances) == len(meter.right) == sum(len(labelled(person)) for person in persons)
    assert (meter.right == 0).sum() == 3 * len(persons)


def test_fitted_weights_are_those_that_outcomes_came_from() -> None:
    rng = np.random.default_rng(0)
    evidence = rng.normal(size=(20_000, 2))
    chances = 1 / (1 + np.exp(-(evidence @ [2.0, -1.0] + 0.5)))
    weights = fit_logistic(evidence, (rng.random(len(chances)) < chances).astype(float))
    assert weights == pytest.approx((2.0, -1.0, 0.5), abs=0.1)
