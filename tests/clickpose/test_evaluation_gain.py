"""What the loop brings, apart from what the click brings, and everything that one walk measures."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clickpose.annotations import AnnotatedImage, AnnotationSet, Pose
from clickpose.errors import InvalidConfig
from clickpose.evaluation import (
    STRATEGIES,
    ClickStyle,
    ManualCorrection,
    RecordedResults,
    Simulation,
    convert_poses,
    evaluate,
    evaluate_all,
)
from clickpose.evaluation.click_curve import CurveMeter
from clickpose.evaluation.corrections import Answers
from clickpose.evaluation.overlays import OverlayMeter, choose_images
from clickpose.evaluation.visits import visit_images
from clickpose.oks import oks
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from tests.clickpose.evaluation_fakes import COCO17, Confused, Listener, by_hand, make_pose, record

CROWDPOSE14 = Skeleton.load("crowdpose14")


@pytest.fixture(scope="module")
def people() -> AnnotationSet:
    return DrawnPeople(COCO17, num_images=4, seed=3).annotations


@pytest.mark.parametrize("loop", ["progressive", "at-once"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_model_that_does_not_listen_gains_nothing_by_the_loop(
    people: AnnotationSet, strategy: str, loop: str
) -> None:
    deaf = ManualCorrection(by_hand(people, 3))
    simulation = Simulation(max_clicks=2).styled(strategy=strategy, loop=loop)
    metrics = evaluate_all(deaf, people, record, {strategy: simulation})[strategy]
    gains = {name: value for name, value in metrics.items() if name.startswith(("gain_by_loop", "gain_by_answer"))}
    assert len(gains) == 4 and set(gains.values()) == {0.0}
    assert metrics["mean_oks@C2"] == metrics["mean_oks@C2/by_hand"]
    assert metrics["NoC@90"] == metrics["NoC@90/by_hand"]
    assert metrics["clicks@90"] == metrics["manual_clicks@90"]


def test_a_perfect_model_needs_no_clicks(people: AnnotationSet) -> None:
    metrics = evaluate(by_hand(people, 0), people, record)
    assert metrics["AP"] == metrics["AP@C0"] == pytest.approx(1.0)
    assert metrics["mean_oks@C0"] == 1.0
    for goal in (85, 90, 95):
        assert metrics[f"NoC@{goal}"] == metrics[f"clicks@{goal}"] == metrics[f"manual_clicks@{goal}"] == 0


def test_the_gain_splits_into_click_and_loop(people: AnnotationSet) -> None:
    metrics: dict[str, Any] = evaluate(Listener(people, by_hand(people, 3)), people, record, Simulation(max_clicks=2))
    for n in (1, 2):
        gain = metrics[f"gain_by_click@C{n}"] + metrics[f"gain_by_loop@C{n}"]
        assert gain == pytest.approx(metrics[f"AP@C{n}"] - metrics["AP@C0"])
        assert metrics[f"gain_by_answer@C{n}"] == metrics[f"AP@C{n}"] - metrics[f"AP@C{n}/unanswered"]
    assert metrics["gain_by_loop@C1"] == metrics["gain_by_answer@C1"] > 0  # one click: the same comparison
    assert metrics["gain_by_loop@C2"] > metrics["gain_by_answer@C2"] == 0  # all was right after the first
    assert metrics["mean_oks@C1"] == 1.0 > metrics["mean_oks@C1/by_hand"] > metrics["mean_oks@C0"]


def test_gains_are_told_with_the_scores_of_the_first_pass_too(people: AnnotationSet) -> None:
    metrics: dict[str, Any] = evaluate(Confused(people, by_hand(people, 1)), people, record, Simulation(max_clicks=1))
    assert metrics["gain_by_loop@C1"] < metrics["gain_by_loop@C1/first_scores"]
    assert metrics["AP@C1/unanswered"] == metrics["AP@C1/unanswered/first_scores"] == metrics["AP@C1/by_hand"]


def test_a_clicked_box_that_grows_right_raises_the_ap_of_boxes(people: AnnotationSet) -> None:
    class BoxLearner(Listener):
        """Finds everybody's true box once asked."""

        def answer(self, pose: Pose, image: AnnotatedImage, rescore: bool) -> Pose:
            truth = min(self.persons[image.id], key=lambda person: np.abs(person.box_px - pose.box_px).sum())
            return replace(super().answer(pose, image, rescore), box_px=truth.box_px)

    narrow = by_hand(people, 1)
    for poses in narrow.poses.values():
        poses[:] = [replace(pose, box_px=pose.box_px + np.float32([6, 6, -6, -6])) for pose in poses]
    metrics: dict[str, Any] = evaluate(BoxLearner(people, narrow), people, record, Simulation(max_clicks=1))
    assert metrics["box/AP@C1"] == pytest.approx(1.0)
    assert metrics["box/AP@C0"] == metrics["box/AP"] < 0.9


def test_without_clicks_the_curve_is_a_point(people: AnnotationSet) -> None:
    metrics = evaluate(by_hand(people, 1), people, record, Simulation(max_clicks=0))
    assert "AP@C0" in metrics and not any("@C1" in name for name in metrics)
    with pytest.raises(InvalidConfig, match="-1"):
        Simulation(max_clicks=-1)


def test_without_persons_there_is_plain_json_without_gains(people: AnnotationSet) -> None:
    empty = AnnotationSet(COCO17, tuple(replace(image, persons=()) for image in people.images))
    metrics = evaluate(by_hand(people, 1), empty, record, Simulation(max_clicks=1))
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert metrics["gain_by_loop@C1"] is metrics["gain_by_click@C1"] is metrics["mean_oks@C0"] is None


def test_persons_who_are_not_shown_count_only_among_all_hypotheses(people: AnnotationSet) -> None:
    shy = RecordedResults(COCO17, by_hand(people, 0).poses, min_score=0.85)  # the second person of an image has .8
    metrics: dict[str, Any] = evaluate(shy, people, record, Simulation(max_clicks=0))
    assert metrics["AP"] == pytest.approx(1.0)
    assert metrics["shown/AP"] < 0.9


# --- several annotators in one walk


def test_a_strategy_asked_for_twice_gives_the_same_numbers(people: AnnotationSet) -> None:
    random = Simulation(max_clicks=2).styled(strategy="random", noise=1.0)
    listener = Listener(people, by_hand(people, 4))
    both = evaluate_all(listener, people, record, {"one": random, "two": random, "worst": Simulation(max_clicks=2)})
    assert without_times(both["one"]) == without_times(both["two"]) != without_times(both["worst"])
    assert listener.num_encoded == len(people)


def test_strategies_side_by_side_give_the_numbers_of_each_alone(people: AnnotationSet) -> None:
    simulations = {name: Simulation(max_clicks=1).styled(strategy=name) for name in STRATEGIES}
    together = evaluate_all(Listener(people, by_hand(people, 4)), people, record, simulations)
    for name, simulation in simulations.items():
        alone = evaluate_all(Listener(people, by_hand(people, 4)), people, record, {name: simulation})
        assert without_times(alone[name]) == without_times(together[name])


def without_times(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if not name.startswith("answer_ms")}


def test_rounds_and_answers_are_computed_once_for_all_measures(people: AnnotationSet) -> None:
    class Counting(Listener):
        num_asked = 0

        def follow(self, *arguments: Any, **options: Any) -> list[Pose]:
            self.num_asked += 1
            return super().follow(*arguments, **options)

    one_goal, three_goals, curve = (Counting(people, by_hand(people, 3)) for _ in range(3))
    evaluate(one_goal, people, record, Simulation(goals=[0.99]))
    evaluate(three_goals, people, record, Simulation(goals=[0.99, 0.98, 0.97]))
    assert one_goal.num_asked == three_goals.num_asked
    visit_images(curve, people, record, [CurveMeter(curve, 4), CurveMeter(curve, 4)])
    assert curve.num_asked == len(people)  # one round each, then all is right and there is no click


def test_the_same_question_gets_the_same_answer_in_the_same_time(people: AnnotationSet) -> None:
    image, listener = people.images[2], Listener(people, by_hand(people, 2))
    annotator = ClickStyle().annotator(image, COCO17, 0.9)
    poses = listener.detect(image)
    annotator.find_missed(poses)
    answers = Answers(listener, image, ClickStyle())
    for click in annotator.correct_each(poses):
        after, answer_ms = answers.refine(poses, [click]), answers.answer_ms(poses, click)
        assert answers.refine(poses, [click]) == after and answers.answer_ms(poses, click) == answer_ms
        assert [new is old for new, old in zip(after, poses, strict=True)].count(False) == 1


@pytest.mark.parametrize("wrong", [{"strategy": "best"}, {"loop": "twice"}, {"hold": "some"}, {"noise": -1.0}])
def test_a_style_that_does_not_exist_is_refused_before_any_image_is_looked_at(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig, match=str(next(iter(wrong.values())))):
        Simulation().styled(**wrong)


# --- another model's results, in our keypoints


def test_results_of_other_keypoints_keep_those_of_the_same_name(people: AnnotationSet) -> None:
    pose = make_pose(people.images[0].persons[0])
    (converted,) = convert_poses({7: [pose]}, COCO17, CROWDPOSE14)[7]
    for name in CROWDPOSE14.keypoints:
        ours = CROWDPOSE14.index(name)
        if name in COCO17.keypoints:
            assert (converted.keypoints_px[ours] == pose.keypoints_px[COCO17.index(name)]).all()
        else:
            assert converted.visibility[ours] == 0 and converted.scores[ours] == 0
    assert np.ptp(converted.keypoints_px, axis=0) == pytest.approx(np.ptp(pose.keypoints_px[5:], axis=0))


def test_perfect_results_stay_perfect_in_other_keypoints(people: AnnotationSet) -> None:
    from clickpose.annotations import convert_set

    results = convert_poses(by_hand(people, 0).poses, COCO17, CROWDPOSE14)
    metrics = evaluate(RecordedResults(CROWDPOSE14, results), convert_set(people, CROWDPOSE14), record)
    assert metrics["AP"] == pytest.approx(1.0) and metrics["manual_clicks@95"] == 0


# --- images before and after


def test_overlays_show_what_the_clicks_did(people: AnnotationSet) -> None:
    listener = Listener(people, by_hand(people, 2))
    meter = OverlayMeter(listener, choose_images(people, 2), num_clicks=1)
    visit_images(listener, people, record, [meter])
    assert len(meter.overlays) == 2
    for overlay in meter.overlays:
        first, answered, manual = overlay.panels
        assert first.mean_oks < manual.mean_oks < answered.mean_oks == 1.0
        assert [int(sum(pose.held.sum() for pose in panel.poses)) for panel in overlay.panels] == [
            0,
            len(overlay.image.persons),
            len(overlay.image.persons),
        ]
        truths = overlay.image.persons
        assert all(max(oks(p.keypoints_px, t, COCO17.sigmas) for t in truths) == 1 for p in answered.poses)


def test_images_to_show_have_persons_and_are_spread_over_the_data_set(people: AnnotationSet) -> None:
    empty = AnnotatedImage(99, "empty.png", (320, 240))
    more = AnnotationSet(COCO17, (empty, *people.images))
    assert choose_images(more, 2) == [people.images[0].id, people.images[2].id]
    assert choose_images(more, 9) == [image.id for image in people.images]
    assert choose_images(AnnotationSet(COCO17, (empty,)), 3) == choose_images(more, 0) == []
