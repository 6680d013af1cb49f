"""The truth plays the annotator: it clicks the worst labelled keypoints, and what it holds stays."""

import math
from dataclasses import replace

import pytest
import torch
from scipy import stats
from torch import Tensor

from clickpose.errors import InvalidConfig
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.training.feedback import (
    Clicker,
    FeedbackConfig,
    add_click_noise,
    random_keypoints,
    run_feedback,
    swap_sides,
    worst_keypoints,
)
from clickpose.training.matcher import match
from clickpose.training.targets import Target
from tests.clickpose.builders import NUM_KEYPOINTS, SIGMAS, build_images, build_model, build_target, seeded
from tests.clickpose.draws import RARE, assert_distributed, inverse_squares

TARGETS = [build_target(2, 1), build_target(3, 2)]
HOLD_ALL = FeedbackConfig(hold="all")
MARGIN = 2e-3


class Watched:
    """A tiny model that remembers what each round of the loop was given."""

    def __init__(self) -> None:
        self.model, self.given = build_model(), []
        self.config = self.model.config

    def refine(self, boxes: Tensor, keypoints: Tensor, values: LayerValues, free: Tensor) -> list[LayerOutput]:
        self.given.append((boxes, keypoints, free))
        return self.model.refine(boxes, keypoints, values, free)


def play(clicks: list[int], config: FeedbackConfig = HOLD_ALL, targets: list[Target] = TARGETS):
    """Play rounds from a first pass; return the rounds' inputs, the answer, and which pose shows which person."""
    watched = Watched()
    with torch.inference_mode():
        memory = watched.model.encode(build_images())
        values = watched.model.decoder.pose_values(memory)
        first = watched.model.estimate_poses(watched.model.find_persons(memory), values)
        layers = run_feedback(watched, first, values, targets, Clicker(SIGMAS, config, generator=seeded(0)), clicks)
        best = first.logits.amax(-1).topk(watched.config.num_refined, 1).indices
        parts = (torch.stack([row[i] for row, i in zip(x, best, strict=True)]) for x in vars(first).values())
        matched = match(LayerOutput(*parts), targets, SIGMAS)
    return watched.given, layers, matched


def test_the_worst_keypoints_are_clicked() -> None:
    truth = build_target(3)
    keypoints = torch.rand(3, NUM_KEYPOINTS, 2, generator=seeded(1))
    for count in (1, 3):
        clicked = worst_keypoints(keypoints, truth, count)
        for person in range(3):
            error = (keypoints[person] - truth.keypoints[person]).abs().sum(-1)
            labelled = [k for k in range(NUM_KEYPOINTS) if truth.labelled[person, k]]
            worst = sorted(labelled, key=lambda k: -error[k])[:count]
            assert clicked[person].nonzero().flatten().tolist() == sorted(worst)


def test_keypoints_without_label_are_never_clicked() -> None:
    truth = build_target(3)
    far = torch.where(truth.labelled[..., None] > 0, truth.keypoints + 0.01, 5.0)
    clicked = worst_keypoints(far, truth, NUM_KEYPOINTS)
    assert torch.equal(clicked, truth.labelled > 0)


def test_a_round_may_go_by_without_a_click() -> None:
    given, _, _ = play([0])
    assert (given[0][2] == 1).all()
    config = FeedbackConfig(max_rounds=1, min_clicks=0, max_clicks=2)
    assert {config.draw_loop(5, seeded(seed))[0] for seed in range(40)} == {0, 1, 2}


def test_confused_limbs_trade_sides_together_and_the_middle_stays() -> None:
    mirror = torch.tensor([0, 2, 1, 4, 3])
    poses = torch.rand(4000, 5, 2, generator=seeded(3))
    confused = swap_sides(poses, mirror, 0.4, seeded(4))
    traded = (confused != poses).any(-1)
    assert torch.equal(confused, torch.where(traded[..., None], poses[:, mirror], poses))
    assert (
        not traded[:, 0].any() and torch.equal(traded[:, 1], traded[:, 2]) and torch.equal(traded[:, 3], traded[:, 4])
    )
    whole, some = (traded[:, 1] & traded[:, 3]).sum(), (traded[:, 1] ^ traded[:, 3]).sum()
    counts = [int(whole), int(some), int(4000 - whole - some)]
    share_of = {"whole": 0.5 + 0.5 / 4, "some": 0.5 / 2}
    expected = [4000 * 0.4 * share_of["whole"], 4000 * 0.4 * share_of["some"]]
    assert stats.chisquare(counts, [*expected, 4000 - sum(expected)]).pvalue > RARE


def test_clicks_go_where_the_truth_is() -> None:
    given, _, matched = play([2])
    where, truth = (matched.image, matched.slot), matched.gather(TARGETS)
    _, keypoints, free = given[0]
    clicked = free[where] == 0
    assert (clicked.sum(-1) == 2).all() and (truth.labelled[clicked] == 1).all()
    assert torch.equal(keypoints[where][clicked], truth.keypoints[clicked])


@pytest.mark.parametrize("hold, per_round", [("none", [0, 0, 0]), ("current", [1, 1, 1]), ("all", [1, 2, 3])])
def test_holds_last_as_long_as_they_are_asked_to(hold: str, per_round: list[int]) -> None:
    given, _, matched = play([1, 1, 1], FeedbackConfig(hold=hold))
    held = [(free[matched.image, matched.slot] == 0).sum(-1) for _, _, free in given]
    assert [count.unique().tolist() for count in held] == [[n] for n in per_round]


def test_whatever_was_clicked_is_where_it_was_clicked_in_the_end() -> None:
    given, layers, matched = play([1, 2, 2])
    where, truth = (matched.image, matched.slot), matched.gather(TARGETS)
    held = given[-1][2][where] == 0
    assert (held.sum(-1) >= 4).all()
    for layer in layers:
        assert (layer.keypoints[where] - truth.keypoints).abs()[held].max() < MARGIN


def test_a_hold_on_nothing_lets_clicks_go() -> None:
    given, layers, matched = play([1], FeedbackConfig(hold="none"))
    where, truth = (matched.image, matched.slot), matched.gather(TARGETS)
    clicked = (given[0][1][where] == truth.keypoints).all(-1)
    assert clicked.any(-1).all()
    assert ((layers[-1].keypoints[where] - truth.keypoints).abs()[clicked] > MARGIN).any()


def test_boxes_contain_their_keypoints_after_a_click_and_no_other_person_is_touched() -> None:
    (boxes, keypoints, free), *_ = play([1])[0]
    matched = play([1])[2]
    touched = torch.zeros(boxes.shape[:2], dtype=torch.bool)
    touched[matched.image, matched.slot] = True
    nearest = (keypoints - boxes[:, :, None, :2]).abs() - boxes[:, :, None, 2:] / 2
    assert (nearest[touched] < 1e-5).all() and (free[~touched] == 1).all()
    assert (nearest[~touched] > 1e-5).any()


def test_a_batch_without_persons_is_refined_all_the_same() -> None:
    given, layers, matched = play([1, 1], targets=[build_target(0), build_target(0)])
    assert len(given) == 2 and len(matched.slot) == 0
    assert layers[-1].keypoints.isfinite().all()


def test_what_is_not_labelled_does_not_change_the_loop() -> None:
    garbled = [
        replace(t, keypoints=torch.where(t.labelled[..., None] > 0, t.keypoints, torch.full_like(t.keypoints, 0.9)))
        for t in TARGETS
    ]
    (_, first, _), (_, second, _) = play([1, 1]), play([1, 1], targets=garbled)
    assert torch.equal(first[-1].keypoints, second[-1].keypoints)


def test_rounds_and_clicks_are_drawn_as_asked() -> None:
    config, generator = FeedbackConfig(probability=0.5, max_rounds=3, max_clicks=4), seeded(0)
    loops = [config.draw_loop(NUM_KEYPOINTS, generator) for _ in range(4000)]
    rounds, clicks = torch.tensor([len(loop) for loop in loops]), torch.tensor([n for loop in loops for n in loop])
    assert_distributed(rounds, torch.cat((torch.ones(1), inverse_squares(3))))
    assert_distributed(clicks - 1, torch.ones(4))


def test_as_published_the_loop_always_runs_for_up_to_k_rounds() -> None:
    generator = seeded(0)
    rounds = [len(FeedbackConfig().draw_loop(NUM_KEYPOINTS, generator)) for _ in range(10_000)]
    assert_distributed(torch.tensor(rounds) - 1, inverse_squares(NUM_KEYPOINTS))


def test_in_random_order_every_free_keypoint_is_as_likely_and_held_ones_come_last() -> None:
    truth, free = repeated(4000), [k for k in range(NUM_KEYPOINTS) if k not in (0, 3)]
    held = torch.zeros(4000, NUM_KEYPOINTS, dtype=torch.bool)
    held[:, 0] = True
    truth.labelled[:, 3] = 0
    one = random_keypoints(held, truth, 1, seeded(0))
    assert (one.sum(-1) == 1).all()
    assert_distributed(torch.tensor([free.index(k) for k in one.int().argmax(-1).tolist()]), torch.ones(len(free)))
    assert torch.equal(random_keypoints(held, truth, len(free), seeded(1)), (truth.labelled > 0) & ~held)
    assert torch.equal(random_keypoints(held, truth, NUM_KEYPOINTS, seeded(2)), truth.labelled > 0)


def test_the_annotator_errs_like_the_annotators_of_coco() -> None:
    """A normal distribution of sigma times the person's size, half of its square in x, half in y."""
    truth = repeated(4000)
    for noise in (0.5, 1.0):
        seen = add_click_noise(truth, SIGMAS, noise, seeded(0)).keypoints - truth.keypoints
        spread = noise * SIGMAS[:, None] * (truth.areas / 2).sqrt()[:, None, None]
        for axis in (seen / spread).flatten(0, 1).T:
            assert stats.kstest(axis.numpy(), stats.norm.cdf).pvalue > RARE


def repeated(count: int) -> Target:
    """A person in the middle of the image, all keypoints labelled, over and over."""
    person = build_target(1)
    keypoints = 0.5 + 0.1 * (person.keypoints - 0.5)
    return Target(
        person.boxes.repeat(count, 1),
        keypoints.repeat(count, 1, 1),
        torch.ones(count, NUM_KEYPOINTS),
        person.areas.repeat(count) / 4,
    )


@pytest.mark.parametrize("order", ["worst", "random"])
def test_what_was_clicked_beside_the_truth_stays_where_it_was_clicked(order: str) -> None:
    given, layers, matched = play([1, 1, 2], FeedbackConfig(hold="all", order=order, click_noise=1))
    where, truth = (matched.image, matched.slot), matched.gather(TARGETS)
    _, keypoints, free = given[-1]
    held = free[where] == 0
    assert (held.sum(-1) == 4).all() and (truth.labelled[held] == 1).all()
    assert (layers[-1].keypoints[where] - keypoints[where])[held].abs().max() < MARGIN
    assert ((keypoints[where] - truth.keypoints)[held].abs() > MARGIN).any()


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"hold": "some"}, "hold is 'some', must be one of none, current, all"),
        ({"probability": 1.5}, "probability of the feedback loop is 1.5"),
        ({"max_rounds": 0}, "max_rounds is 0"),
        ({"max_clicks": 0}, "max_clicks is 0"),
        ({"min_clicks": 2}, r"min_clicks is 2, must lie in 0\.\.max_clicks, 1"),
        ({"inversion": -0.1}, r"inversion of the feedback loop is -0\.1"),
        ({"order": "best"}, "order is 'best', must be one of worst, random"),
        ({"click_noise": -1.0}, r"click_noise is -1\.0"),
        ({"click_noise": math.inf}, "click_noise is inf"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(changes: dict, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        FeedbackConfig(**changes)
