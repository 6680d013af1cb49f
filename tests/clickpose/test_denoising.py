"""Noised persons: how far they are off, how often labels lie, how many keypoints stay clean, and who sees whom."""

import numpy as np
import pytest
import torch

from clickpose.model.click_pose import NUM_LABELS, PERSON_LABEL
from clickpose.training.denoising import DenoisingQueries, draw_inverse_square, make_denoising_queries
from tests.clickpose.builders import NUM_KEYPOINTS, build_target, seeded

MANY = 4000
FOUR_SIGMA = 4


def noised(*counts: int, queries: int = MANY, **how) -> DenoisingQueries:
    targets = [build_target(count, seed) for seed, count in enumerate(counts)]
    return make_denoising_queries(targets, queries, generator=seeded(0), **how)


def assert_share(found: torch.Tensor, share: float) -> None:
    """A share of many draws, within four standard deviations."""
    draws = found.numel()
    assert abs(float(found.float().mean()) - share) < FOUR_SIGMA * (share * (1 - share) / draws) ** 0.5


def test_persons_are_repeated_in_order_and_the_rest_is_drawn() -> None:
    target = build_target(3, 0)
    queries = noised(3, queries=50)
    rounds = torch.arange(48) % 3
    assert torch.equal(queries.true_boxes[0, :48], target.boxes[rounds])
    assert torch.equal(queries.true_keypoints[0, :48], target.keypoints[rounds])
    assert torch.equal(queries.labelled[0, :48], target.labelled[rounds])
    assert all((box == target.boxes).all(-1).any() for box in queries.true_boxes[0, 48:])


def test_half_of_the_labels_are_drawn_anew() -> None:
    queries = noised(3)
    assert_share(queries.labels != PERSON_LABEL, 0.5 * (NUM_LABELS - 1) / NUM_LABELS)
    assert queries.labels.min() >= 0 and queries.labels.max() < NUM_LABELS


def test_half_of_the_keypoint_labels_are_drawn_anew_never_the_last_as_published() -> None:
    labels, true = noised(3).keypoint_labels, torch.arange(1, NUM_KEYPOINTS + 1)
    assert_share((labels != true)[..., :-1], 0.5 * (NUM_KEYPOINTS - 1) / NUM_KEYPOINTS)
    assert_share((labels != true)[..., -1], 0.5)
    drawn = labels[labels != true]
    assert (drawn.min(), drawn.max()) == (0, NUM_KEYPOINTS - 1)


def test_boxes_move_and_scale_by_up_to_two_fifths() -> None:
    queries = noised(3)
    moved = (queries.boxes - queries.true_boxes) / queries.true_boxes[..., 2:].repeat(1, 1, 2)
    inside = ((queries.boxes > 0.01) & (queries.boxes < 0.99)).all(-1)
    limits = torch.tensor([0.2, 0.2, 0.4, 0.4])
    assert inside.float().mean() > 0.9 and (moved[inside].abs() <= limits + 1e-3).all()
    assert (moved[inside].abs().amax(0) > 0.95 * limits).all()
    assert (moved[inside].mean(0).abs() < 0.02).all()
    assert queries.boxes.min() >= 0 and queries.boxes.max() <= 1


def test_keypoints_move_by_up_to_a_fifth_of_the_noised_box() -> None:
    queries = noised(3, keep_clean=False)
    moved = (queries.keypoints - queries.true_keypoints) / queries.boxes[:, :, None, 2:]
    inside = (queries.true_keypoints > 0.15) & (queries.true_keypoints < 0.85)
    assert (moved[inside].abs() <= 0.2 + 1e-3).all() and moved[inside].abs().max() > 0.199
    assert_share(moved[inside] > 0, 0.5)
    assert queries.keypoints.min() >= 0 and queries.keypoints.max() <= 1


def test_without_clean_keypoints_every_one_moves() -> None:
    queries = noised(3, keep_clean=False)
    seen = queries.labelled > 0
    assert (queries.keypoints != queries.true_keypoints).any(-1)[seen].all()


def test_few_keypoints_stay_clean_and_seldom_many() -> None:
    """n are drawn with replacement, P(n) ~ 1/n^2; a keypoint then stays with probability 1 - (1 - 1/K)^n."""
    queries = noised(3)
    seen = queries.labelled > 0
    clean = (queries.keypoints == queries.true_keypoints).all(-1)
    n = np.arange(1, NUM_KEYPOINTS + 1)
    share = np.average(1 - (1 - 1 / NUM_KEYPOINTS) ** n, weights=1 / n**2)
    assert float(clean[seen].float().mean()) == pytest.approx(share, rel=0.05)
    assert (clean | ~seen).sum(-1).min() >= 1


def test_numbers_of_clicks_fall_with_their_square() -> None:
    drawn = draw_inverse_square(5, (20_000,), seeded(0))
    shares = 1 / np.arange(1, 6) ** 2 / (1 / np.arange(1, 6) ** 2).sum()
    assert (int(drawn.min()), int(drawn.max())) == (1, 5)
    for number, share in enumerate(shares, start=1):
        assert_share(drawn == number, float(share))


def test_a_picture_without_persons_gets_noise_that_is_nobody() -> None:
    queries = noised(0, 2, queries=40)
    assert queries.is_person.tolist() == [[False] * 40, [True] * 40]
    assert queries.keypoints.isfinite().all() and len({tuple(box) for box in queries.true_boxes[0].tolist()}) == 40


def test_the_same_seed_draws_the_same_noise() -> None:
    first, second = noised(3, queries=9), noised(3, queries=9)
    assert torch.equal(first.keypoints, second.keypoints) and torch.equal(first.boxes, second.boxes)


@pytest.mark.parametrize("num_persons", [0, 1, 3])
def test_noise_sees_its_own_repetition_and_everything_real_and_nothing_real_sees_noise(num_persons: int) -> None:
    noise, real = 7, 4
    mask = noised(num_persons, queries=noise).person_mask(real)[0]
    for row in range(noise + real):
        for column in range(noise + real):
            if column >= noise:
                sees = True
            elif row >= noise:
                sees = False
            else:
                sees = num_persons == 0 or row // num_persons == column // num_persons
            assert mask[row, column] == (not sees)


@pytest.mark.parametrize("num_persons", [0, 1, 3])
def test_tokens_of_noise_see_their_own_person_and_everyone_real(num_persons: int) -> None:
    noise, real, group = 3, 2, NUM_KEYPOINTS + 1
    mask = noised(num_persons, queries=noise).pose_mask(real)[0]
    for row in range(noise + real):
        for column in range(noise + real):
            if column >= noise and row < noise:
                sees = True
            else:
                sees = row == column or (num_persons == 0 and max(row, column) < noise)
            block = mask[row * group : (row + 1) * group, column * group : (column + 1) * group]
            assert (block == (not sees)).all()


def test_pictures_of_a_batch_have_masks_of_their_own() -> None:
    masks = noised(3, 0, queries=6).person_mask(4)
    assert torch.equal(masks[0], noised(3, queries=6).person_mask(4)[0])
    assert torch.equal(masks[1], noised(0, queries=6).person_mask(4)[0])
