"""What a simulated annotator clicks, and the clicks, scores and harm that are counted from it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from clickpose.annotations import AnnotatedImage, AnnotationSet, Click, PersonAnnotation, Pose
from clickpose.errors import InvalidAnnotation, InvalidClick, InvalidConfig
from clickpose.evaluation import (
    STRATEGIES,
    ClickStyle,
    RecordedResults,
    SimulatedAnnotator,
    Simulation,
    annotate,
    ap_at_clicks,
    clicks_per_person,
    evaluate,
    evaluate_all,
    number_of_clicks,
)
from clickpose.evaluation.click_style import EVERY_KEYPOINT
from clickpose.evaluation.noc import rounds_needed
from clickpose.oks import keypoint_similarity, oks, within_tolerance
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from tests.clickpose.evaluation_fakes import COCO17, FAR_PX, Confused, Listener, by_hand, labelled, make_pose, record


@pytest.fixture(scope="module")
def people() -> AnnotationSet:
    return DrawnPeople(COCO17, num_images=6, seed=3).annotations


# --- annotators


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_keypoints_that_may_be_clicked_are_clicked(people: AnnotationSet, strategy: str) -> None:
    allowed = ("nose", "left_wrist")
    for image in people.images:
        annotator = SimulatedAnnotator(image, COCO17, strategy, EVERY_KEYPOINT, keypoints=allowed)
        poses = [make_pose(person, wrong=[0, 9, 11]) for person in image.persons]
        annotator.find_missed(poses)
        clicked = {COCO17.keypoints[COCO17.index(click.keypoint)] for click in annotator.correct_each(poses)}
        assert clicked and clicked <= set(allowed)


def test_clicks_on_some_keypoints_raise_the_score_of_those_alone(people: AnnotationSet) -> None:
    clicked, others = COCO17.keypoints[:5], COCO17.keypoints[5:]
    scored = {"clicked": clicked, "others": others}
    simulation = Simulation(max_clicks=2, scored=scored).styled(keypoints=clicked)
    wrong = by_hand(people, num_wrong=2)
    (metrics,) = evaluate_all(wrong, people, record, {"": simulation}).values()
    assert metrics["clicked/AP@C2"] > metrics["clicked/AP@C0"]
    assert metrics["others/AP@C2"] == metrics["others/AP@C0"] == metrics["others/AP@C2/by_hand"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_unlabelled_keypoints_are_never_clicked(people: AnnotationSet, strategy: str) -> None:
    for image in people.images:
        persons = tuple(unlabel(person, [0, 5, 9]) for person in image.persons)
        annotator = SimulatedAnnotator(replace(image, persons=persons), COCO17, strategy, EVERY_KEYPOINT)
        poses = [make_pose(person, wrong=[0, 5, 9, 11]) for person in persons]
        annotator.find_missed(poses)
        clicked = {click.keypoint for _ in range(30) for click in annotator.correct_each(poses)}
        assert clicked and not clicked & {0, 5, 9}


def unlabel(person: PersonAnnotation, keypoints: list[int]) -> PersonAnnotation:
    visibility, keypoints_px = person.visibility.copy(), person.keypoints_px.copy()
    visibility[keypoints], keypoints_px[keypoints] = 0, 0.0
    return replace(person, visibility=visibility, keypoints_px=keypoints_px)


def test_worst_clicks_by_tolerance_and_farthest_by_distance(people: AnnotationSet) -> None:
    image = people.images[0]
    pose = make_pose(image.persons[0])
    pose.keypoints_px[0] += 4.0  # the nose: small sigma
    pose.keypoints_px[11] += 6.0  # a hip: large sigma, farther away
    clicked = {}
    for strategy in ("worst", "farthest"):
        annotator = SimulatedAnnotator(image, COCO17, strategy, EVERY_KEYPOINT)
        annotator.find_missed([pose])
        clicked[strategy] = annotator.correct([pose])
    assert clicked["worst"] is not None and clicked["worst"].keypoint == 0
    assert clicked["farthest"] is not None and clicked["farthest"].keypoint == 11


def test_low_score_clicks_where_the_model_is_least_sure(people: AnnotationSet) -> None:
    image = people.images[0]
    wrong = labelled(image.persons[0])[:5]
    poses = [make_pose(image.persons[0], wrong)]
    annotator = SimulatedAnnotator(image, COCO17, "low-score")
    annotator.find_missed(poses)
    click = annotator.correct(poses)
    assert click is not None and click.keypoint == wrong[-1]  # scores fall with the index


def test_an_occluded_keypoint_is_clicked_as_occluded(people: AnnotationSet) -> None:
    image = people.images[0]
    visibility = np.where(np.arange(17) == 7, 1, image.persons[0].visibility)
    image = replace(image, persons=(replace(image.persons[0], visibility=visibility),))
    poses = [make_pose(image.persons[0], wrong=[7])]
    annotator = SimulatedAnnotator(image, COCO17)
    annotator.find_missed(poses)
    click = annotator.correct(poses)
    assert click is not None and (click.keypoint, click.visibility) == (7, 1)


def test_nothing_outside_tolerance_is_nothing_to_click(people: AnnotationSet) -> None:
    image = people.images[2]
    annotator = SimulatedAnnotator(image, COCO17)
    poses = [make_pose(person) for person in image.persons]
    for pose in poses:
        pose.keypoints_px[3:] += 0.1
    assert annotator.find_missed(poses) == []
    assert annotator.correct(poses) is None and annotator.correct_each(poses) == []


def test_a_keypoint_that_lies_where_it_belongs_is_not_clicked_again(people: AnnotationSet) -> None:
    annotator = SimulatedAnnotator(people.images[0], COCO17, "random", EVERY_KEYPOINT)
    poses = [make_pose(people.images[0].persons[0])]
    annotator.find_missed(poses)
    assert annotator.correct(poses) is None


def test_a_pose_too_far_away_shows_no_person(people: AnnotationSet) -> None:
    image = people.images[0]
    pose = make_pose(image.persons[0])
    pose.keypoints_px[1:] += FAR_PX
    assert 0 < oks(pose.keypoints_px, image.persons[0], COCO17.sigmas) < 0.1
    annotator = SimulatedAnnotator(image, COCO17)
    assert annotator.find_missed([pose]) == [tuple(image.persons[0].box_px)]
    assert annotator.matches == {1: 0}


def test_clicks_stay_inside_the_image(people: AnnotationSet) -> None:
    image = replace(people.images[0], size_wh=(100, 60))
    poses = [make_pose(image.persons[0], wrong=labelled(image.persons[0])[3:])]
    annotator = SimulatedAnnotator(image, COCO17, tolerance=EVERY_KEYPOINT)
    annotator.match_as_published(poses)
    x, y = annotator.correct_each(poses)[0].xy_px
    assert 0 <= x <= 100 and 0 <= y <= 60


def test_noise_is_that_of_cocos_annotators(people: AnnotationSet) -> None:
    image = people.images[0]
    similarities = []
    for seed in range(200):
        annotator = SimulatedAnnotator(image, COCO17, tolerance=EVERY_KEYPOINT, noise=1.0, seed=seed)
        poses = [make_pose(image.persons[0])]
        annotator.find_missed(poses)
        click = annotator.correct(poses)
        assert click is not None and click == annotator.correct(poses)  # an opinion, held
        truth = image.persons[0].keypoints_px.copy()
        truth[click.keypoint] = click.xy_px
        similarities.append(keypoint_similarity(truth, image.persons[0], COCO17.sigmas)[int(click.keypoint)])
    assert 0.4 < np.mean(similarities) < 0.88  # the worst of 17 joints, each about .88


def test_an_unknown_strategy_or_loop_is_refused(people: AnnotationSet) -> None:
    with pytest.raises(InvalidConfig, match="low-score"):
        SimulatedAnnotator(people.images[0], COCO17, "best")
    with pytest.raises(InvalidConfig, match="at-once"):
        ClickStyle(loop="backwards")


# --- the loop


def test_annotate_ends_with_every_person_within_tolerance(people: AnnotationSet) -> None:
    predictor = by_hand(people, num_wrong=4)
    image = people.images[2]
    poses = annotate(predictor, image, SimulatedAnnotator(image, COCO17), max_clicks=100)
    for pose, person in zip(poses, image.persons, strict=True):
        close = within_tolerance(pose.keypoints_px, person, COCO17.sigmas)
        assert close[person.visibility > 0].all()
        assert np.flatnonzero(pose.held).tolist() == labelled(person)[:4]


def test_annotate_stops_after_the_clicks_allowed(people: AnnotationSet) -> None:
    image = people.images[2]
    poses = annotate(by_hand(people, 4), image, SimulatedAnnotator(image, COCO17), max_clicks=5)
    assert sum(int(pose.held.sum()) for pose in poses) == 5


def test_annotate_adds_missed_persons(people: AnnotationSet) -> None:
    image = people.images[2]
    poses = annotate(RecordedResults(COCO17, {}), image, SimulatedAnnotator(image, COCO17), max_clicks=100)
    assert len(poses) == len(image.persons) == 3
    for pose, person in zip(poses, image.persons, strict=True):
        assert within_tolerance(pose.keypoints_px, person, COCO17.sigmas)[person.visibility > 0].all()


def test_rounds_all_at_once_equal_progressive_ones_if_no_model_listens(people: AnnotationSet) -> None:
    predictor = by_hand(people, num_wrong=3)
    image = people.images[1]
    played = []
    for loop in ("progressive", "at-once"):
        style = ClickStyle(loop=loop)
        annotator = style.annotator(image, COCO17, EVERY_KEYPOINT)
        poses = predictor.detect(image)
        annotator.find_missed(poses)
        played.append(list(islice(style.play(poses, annotator, style.refiner(predictor, image)), 5)))
    for one, other in zip(*played, strict=True):
        for pose, twin in zip(one.poses, other.poses, strict=True):
            assert np.array_equal(pose.keypoints_px, twin.keypoints_px)
    assert [int(now.poses[0].held.sum()) for now in played[1]] == [0, 1, 2, 3, 3]


# --- the published measures


def test_ap_rises_with_clicks_to_one(people: AnnotationSet) -> None:
    curve = ap_at_clicks(by_hand(people, 4), people, record, max_clicks=4)
    ap = [numbers["AP"] for numbers in curve.answered.rounds]
    assert len(ap) == 5 and ap == sorted(ap)
    assert ap[0] < 0.9 and ap[4] == pytest.approx(1.0)
    assert curve.answered.first_scores == curve.answered.rounds


def test_scores_of_the_first_pass_and_of_the_loop_are_kept_apart(people: AnnotationSet) -> None:
    curve = ap_at_clicks(Confused(people, by_hand(people, 1)), people, record, max_clicks=1).answered
    assert curve.rounds[0] == curve.first_scores[0]
    assert curve.rounds[1]["AP"] < curve.first_scores[1]["AP"] == pytest.approx(1.0)


def test_number_of_clicks_is_that_of_the_wrong_keypoints(people: AnnotationSet) -> None:
    right, wrong = by_hand(people, 0), by_hand(people, 3)
    assert number_of_clicks(right, people, record, thresholds=[0.95]).rounds == {0.95: 0.0}
    # one wrong keypoint of 17 leaves an OKS of .94 (9 of 10 thresholds, AP .9), two .88 (AP .8)
    assert full(people), "a person with fewer labels reaches less"
    counts = number_of_clicks(wrong, full(people), record, thresholds=[0.85, 0.95])
    assert counts.rounds == counts.first_scores == {0.85: 2.0, 0.95: 3.0}


def full(annotations: AnnotationSet) -> AnnotationSet:
    """Only the images whose persons have every keypoint labelled."""
    images = [image for image in annotations.images if all(p.num_labelled == 17 for p in image.persons)]
    return AnnotationSet(annotations.skeleton, tuple(images))


def test_a_image_that_never_gets_there_counts_all_keypoints(people: AnnotationSet) -> None:
    image = people.images[0]
    hopeless = [make_pose(image.persons[0], wrong=range(17))]
    right = [make_pose(image.persons[0])]
    assert rounds_needed(image, COCO17, iter([hopeless] * 40), [0.85]) == {0.85: 17}
    assert rounds_needed(image, COCO17, iter([hopeless] * 16 + [right]), [0.85]) == {0.85: 16}
    assert rounds_needed(image, COCO17, iter([hopeless] * 17 + [right]), [0.85]) == {0.85: 17}
    assert rounds_needed(replace(image, persons=()), COCO17, iter([right] * 40), [0.85]) == {0.85: 17}


def test_images_without_persons_are_left_out_of_the_published_measures(people: AnnotationSet) -> None:
    empty = AnnotatedImage(99, "empty.png", (320, 240))
    more = AnnotationSet(COCO17, (*people.images, empty))
    predictor = by_hand(people, 0)
    assert number_of_clicks(predictor, more, record, thresholds=[0.9]).rounds == {0.9: 0.0}


# --- clicks per person


def test_clicks_by_hand_are_the_wrong_keypoints(people: AnnotationSet) -> None:
    cost = clicks_per_person(by_hand(people, 3), people, record, oks_threshold=0.99)
    assert cost.mean_clicks == cost.manual_mean_clicks == 3.0
    assert cost.num_persons == people.num_persons == 12
    assert (cost.num_failed, cost.num_added, cost.num_spurious) == (0, 0, 0)
    assert (cost.harm, cost.help) == (0.0, 0.0)


def test_a_model_that_listens_needs_fewer_clicks(people: AnnotationSet) -> None:
    cost = clicks_per_person(Listener(people, by_hand(people, 3)), people, record, oks_threshold=0.99)
    assert cost.mean_clicks == 1.0
    assert cost.manual_mean_clicks == 3.0
    assert (cost.harm, cost.help) == (0.0, 1.0)
    assert cost.max_held_drift_px == 0.0
    assert 0 < cost.answer_ms <= cost.answer_ms_p95


def test_a_placed_keypoint_that_moves_is_noticed(people: AnnotationSet) -> None:
    listener = Listener(people, by_hand(people, 3), drift_px=0.5)
    cost = clicks_per_person(listener, people, record, oks_threshold=0.99, cap=1)
    assert cost.max_held_drift_px == pytest.approx(0.5 * np.sqrt(2))


def test_harm_is_the_share_of_good_keypoints_that_a_refine_spoils(people: AnnotationSet) -> None:
    class Clumsy(RecordedResults):
        """Every refine throws away the last keypoint that was not placed."""

        def refine(
            self, encoded: AnnotatedImage, poses: Sequence[Pose], clicks: Sequence[Click], **options: Any
        ) -> list[Pose]:
            poses = super().refine(encoded, poses, clicks)
            for click in clicks:
                free = np.flatnonzero(~poses[click.person].held)
                poses[click.person].keypoints_px[free[-1]] += FAR_PX
            return poses

    annotations = full(people)
    clumsy = Clumsy(COCO17, by_hand(annotations, 1).poses)
    cost = clicks_per_person(clumsy, annotations, record, oks_threshold=0.99, cap=1)
    assert cost.harm == pytest.approx(1 / 16)
    assert cost.help != cost.help  # nothing was outside tolerance: NaN


def test_a_missed_person_costs_two_clicks_more(people: AnnotationSet) -> None:
    predictor = by_hand(people, 0)
    image = people.images[2]
    predictor.poses[image.id] = predictor.poses[image.id][1:]
    alone = AnnotationSet(COCO17, (image,))
    cost = clicks_per_person(Listener(alone, predictor), alone, record, oks_threshold=0.9)
    assert cost.num_added == 1
    assert cost.mean_clicks == pytest.approx((2 + 1) / 3)
    assert cost.manual_mean_clicks > cost.mean_clicks


def test_a_pose_that_shows_no_person_is_counted_apart(people: AnnotationSet) -> None:
    predictor = by_hand(people, 0)
    image = people.images[0]
    stray = make_pose(image.persons[0], wrong=range(17))
    predictor.poses[image.id].append(replace(stray, box_px=stray.box_px + 5000))
    cost = clicks_per_person(predictor, AnnotationSet(COCO17, (image,)), record)
    assert (cost.num_spurious, cost.mean_clicks) == (1, 0.0)


def test_persons_beyond_the_cap_fail_and_count_the_cap(people: AnnotationSet) -> None:
    cost = clicks_per_person(by_hand(people, 5), people, record, oks_threshold=0.99, cap=2)
    assert cost.num_failed == cost.manual_num_failed == cost.num_persons
    assert cost.mean_clicks == 2.0


def test_a_careless_annotator_fails_more_often(people: AnnotationSet) -> None:
    predictor = by_hand(people, 4)
    careless = clicks_per_person(predictor, people, record, oks_threshold=0.95, style=ClickStyle(noise=3.0))
    assert careless.num_failed > clicks_per_person(predictor, people, record, oks_threshold=0.95).num_failed == 0


# --- everything at once


def test_evaluate_encodes_each_image_once_and_gives_plain_json(people: AnnotationSet) -> None:
    listener = Listener(people, by_hand(people, 2))
    steps: list[tuple[int, int]] = []
    metrics = evaluate(listener, people, record, progress=lambda done, total: steps.append((done, total)))
    assert listener.num_encoded == len(people) == 6
    assert steps == [(n, 6) for n in range(1, 7)]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["AP"] == metrics["AP@C0"]
    assert metrics["AP@C4"] == pytest.approx(1.0)
    assert metrics["clicks@95"] == 1.0 and metrics["manual_clicks@95"] == 2.0
    assert metrics["max_held_drift_px@95"] == 0.0
    assert not any("first_scores" in name for name in metrics)
    assert {"NoC@85", "NoC@90", "NoC@95", "AP_M", "AP_L", "box/AP", "harm@90", "num_persons"} <= set(metrics)


def test_evaluate_tells_when_a_refine_changes_scores(people: AnnotationSet) -> None:
    metrics = evaluate(Confused(people, by_hand(people, 1)), people, record, Simulation(max_clicks=1))
    assert metrics["AP@C1"] != metrics["AP@C1/first_scores"] == pytest.approx(1.0)
    assert metrics["NoC@95"] == 17.0 and metrics["NoC@95/first_scores"] == 1.0


def test_recorded_results_come_best_first_and_from_a_score(people: AnnotationSet) -> None:
    image = people.images[0]
    poses = [make_pose(image.persons[0], score=score) for score in (0.2, 0.9, 0.5)]
    results = RecordedResults(COCO17, {image.id: poses}, min_score=0.4)
    assert [pose.score for pose in results.detect(image)] == [0.9, 0.5]
    assert [pose.score for pose in results.hypotheses(image)] == [0.9, 0.5, 0.2]


def test_other_keypoints_than_the_models_are_refused(people: AnnotationSet) -> None:
    with pytest.raises(InvalidAnnotation, match="convert_set"):
        evaluate(RecordedResults(Skeleton.load("crowdpose14"), {}), people, record)


def test_a_click_on_no_person_is_refused(people: AnnotationSet) -> None:
    predictor = by_hand(people, 0)
    poses = predictor.detect(people.images[0])
    with pytest.raises(InvalidClick, match="person 7"):
        predictor.refine(people.images[0], poses, [Click(7, "nose", (1.0, 1.0))])
    with pytest.raises(InvalidClick, match="tail"):
        predictor.refine(people.images[0], poses, [Click(0, "tail", (1.0, 1.0))])
