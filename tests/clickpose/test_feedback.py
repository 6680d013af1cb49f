"""The truth plays the annotator: it clicks the worst labelled keypoints, and what it holds stays."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clickpose.errors import InvalidConfig
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.training.feedback import FeedbackConfig, run_feedback, worst_keypoints
from clickpose.training.matcher import match
from clickpose.training.targets import Target
from tests.clickpose.builders import NUM_KEYPOINTS, SIGMAS, build_model, build_pictures, build_target, seeded

TARGETS = [build_target(2, 1), build_target(3, 2)]
MARGIN = 2e-3


class Watched:
    """A tiny model that remembers what each round of the loop was given."""

    def __init__(self) -> None:
        self.model, self.given = build_model(), []
        self.config = self.model.config

    def refine(self, boxes: Tensor, keypoints: Tensor, values: LayerValues, free: Tensor) -> list[LayerOutput]:
        self.given.append((boxes, keypoints, free))
        return self.model.refine(boxes, keypoints, values, free)


def play(clicks: list[int], hold: str = "all", targets: list[Target] = TARGETS):
    """Play rounds from a first pass; return the rounds' inputs, the answer, and who shows whom."""
    watched = Watched()
    with torch.inference_mode():
        memory = watched.model.encode(build_pictures())
        values = watched.model.decoder.pose_values(memory)
        first = watched.model.estimate_poses(watched.model.find_persons(memory), values)
        layers = run_feedback(watched, first, values, targets, SIGMAS, clicks=clicks, hold=hold)
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


def test_clicks_go_where_the_truth_is() -> None:
    given, _, matched = play([2])
    where, truth = (matched.image, matched.slot), matched.gather(TARGETS)
    _, keypoints, free = given[0]
    clicked = free[where] == 0
    assert (clicked.sum(-1) == 2).all() and (truth.labelled[clicked] == 1).all()
    assert torch.equal(keypoints[where][clicked], truth.keypoints[clicked])


@pytest.mark.parametrize("hold, per_round", [("none", [0, 0, 0]), ("current", [1, 1, 1]), ("all", [1, 2, 3])])
def test_holds_last_as_long_as_they_are_asked_to(hold: str, per_round: list[int]) -> None:
    given, _, matched = play([1, 1, 1], hold)
    held = [(free[matched.image, matched.slot] == 0).sum(-1) for _, _, free in given]
    assert [count.unique().tolist() for count in held] == [[n] for n in per_round]


def test_whatever_was_clicked_is_where_it_was_clicked_in_the_end() -> None:
    given, layers, matched = play([1, 2, 2], "all")
    where, truth = (matched.image, matched.slot), matched.gather(TARGETS)
    held = given[-1][2][where] == 0
    assert (held.sum(-1) >= 4).all()
    for layer in layers:
        assert (layer.keypoints[where] - truth.keypoints).abs()[held].max() < MARGIN


def test_a_hold_on_nothing_lets_clicks_go() -> None:
    given, layers, matched = play([1], "none")
    where, truth = (matched.image, matched.slot), matched.gather(TARGETS)
    clicked = (given[0][1][where] == truth.keypoints).all(-1)
    assert clicked.any(-1).all()
    assert ((layers[-1].keypoints[where] - truth.keypoints).abs()[clicked] > MARGIN).any()


def test_boxes_contain_their_keypoints_after_a_click_and_nobody_else_is_touched() -> None:
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
    rounds = torch.tensor([config.draw_rounds(NUM_KEYPOINTS, generator) for _ in range(2000)])
    clicks = torch.tensor([config.draw_clicks(generator) for _ in range(2000)])
    assert float((rounds == 0).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert sorted(rounds.unique().tolist()) == [0, 1, 2, 3]
    assert [round(float((clicks == n).float().mean()), 1) for n in (1, 2, 3, 4)] == pytest.approx([0.25] * 4, abs=0.06)


def test_as_published_the_loop_always_runs_for_up_to_k_rounds() -> None:
    generator = seeded(0)
    rounds = [FeedbackConfig().draw_rounds(NUM_KEYPOINTS, generator) for _ in range(5000)]
    assert (min(rounds), max(rounds)) == (1, NUM_KEYPOINTS)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"hold": "some"}, "hold is 'some', must be one of none, current, all"),
        ({"probability": 1.5}, "probability of the feedback loop is 1.5"),
        ({"max_rounds": 0}, "max_rounds is 0"),
        ({"max_clicks": 0}, "max_clicks is 0"),
    ],
)
def test_what_cannot_be_played_is_refused_by_name(changes: dict, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        FeedbackConfig(**changes)
