"""Noised persons: how far they are off, how often labels lie, how many keypoints stay clean, which see each other."""

from dataclasses import replace

import pytest
import torch
from scipy import stats

from clickpose.errors import InvalidConfig
from clickpose.model.feedback import NUM_LABELS, PERSON_LABEL
from clickpose.training.denoising import DenoisingConfig, DenoisingQueries, draw_inverse_square, make_denoising_queries
from tests.clickpose.builders import MIRROR, NUM_KEYPOINTS, SKELETON, build_target, seeded
from tests.clickpose.draws import assert_distributed, assert_even, assert_share, inverse_squares

MANY, PUBLISHED = 4000, DenoisingConfig()


def noised(
    *counts: int, queries: int = MANY, config: DenoisingConfig = PUBLISHED, keep_clean: bool = True
) -> DenoisingQueries:
    targets = [build_target(count, seed) for seed, count in enumerate(counts)]
    return make_denoising_queries(targets, queries, config, MIRROR, keep_clean=keep_clean, generator=seeded(0))


def test_persons_are_repeated_in_order_and_the_rest_is_drawn() -> None:
    target = build_target(3, 0)
    queries = noised(3, queries=50)
    rounds = torch.arange(48) % 3
    assert torch.equal(queries.true_boxes[0, :48], target.boxes[rounds])
    assert torch.equal(queries.true_keypoints[0, :48], target.keypoints[rounds])
    assert torch.equal(queries.labelled[0, :48], target.labelled[rounds])
    assert all((box == target.boxes).all(-1).any() for box in queries.true_boxes[0, 48:])


def test_half_of_the_labels_are_drawn_again_from_all() -> None:
    labels = noised(3, 3).labels.flatten()
    expected = torch.full((NUM_LABELS,), 0.5 / NUM_LABELS)
    expected[PERSON_LABEL] += 0.5
    assert_distributed(labels, expected)


def test_half_of_the_keypoint_labels_are_drawn_again_never_the_last_as_published() -> None:
    labels = noised(3).keypoint_labels.flatten(0, 1)
    for k in range(NUM_KEYPOINTS):
        expected = torch.full((NUM_KEYPOINTS + 1,), 0.5 / NUM_KEYPOINTS)
        expected[-1] = 0
        expected[k + 1] += 0.5
        assert_distributed(labels[:, k], expected)


def test_pairs_trade_labels_together_as_often_as_asked() -> None:
    """The paper's inversion: alpha of the pairs, the left one and the right one alike, and no other keypoint."""
    labels = noised(3, config=DenoisingConfig(label_noise=0, inversion=0.4)).keypoint_labels
    true = torch.arange(1, NUM_KEYPOINTS + 1).expand(labels.shape)
    traded = labels != true
    assert torch.equal(labels[traded], (MIRROR + 1).expand(labels.shape)[traded])
    assert torch.equal(traded, traded[..., MIRROR])
    for left, right in SKELETON.flip_pairs:
        assert_share(traded[..., left], 0.4)
        assert traded[..., left].equal(traded[..., right])
    assert not traded[..., torch.arange(NUM_KEYPOINTS) == MIRROR].any()


def test_pairs_trade_labels_independently_of_each_other() -> None:
    traded = noised(3, config=DenoisingConfig(label_noise=0, inversion=0.4)).keypoint_labels != torch.arange(
        1, NUM_KEYPOINTS + 1
    )
    pairs = torch.stack([traded[..., left] for left, _ in SKELETON.flip_pairs], -1).flatten(0, 1)
    counts = pairs.sum(-1)
    assert_distributed(counts, torch.from_numpy(stats.binom(len(SKELETON.flip_pairs), 0.4).pmf(range(7))))


def test_boxes_move_and_scale_by_up_to_two_fifths_evenly() -> None:
    queries = noised(3)
    moved = (queries.boxes - queries.true_boxes) / queries.true_boxes[..., 2:].repeat(1, 1, 2)
    for side, limit in zip(moved.flatten(0, 1).T, (0.2, 0.2, 0.4, 0.4), strict=True):
        assert_even(side, limit)
    assert queries.boxes.min() >= 0 and queries.boxes.max() <= 1


def test_keypoints_move_by_up_to_a_fifth_of_the_noised_box_evenly() -> None:
    queries = noised(3, keep_clean=False)
    moved = (queries.keypoints - queries.true_keypoints) / queries.boxes[:, :, None, 2:]
    inside = ((queries.true_keypoints > 0.15) & (queries.true_keypoints < 0.85)).all(-1)
    for axis in moved[inside].T:
        assert_even(axis, 0.2)
    assert queries.keypoints.min() >= 0 and queries.keypoints.max() <= 1


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_noise_is_as_large_as_asked(noise: float) -> None:
    config = DenoisingConfig(label_noise=noise, box_noise=noise, keypoint_noise=noise)
    queries = noised(3, config=config, keep_clean=False)
    assert_share(queries.labels != PERSON_LABEL, noise * (NUM_LABELS - 1) / NUM_LABELS)
    moved = (queries.boxes - queries.true_boxes).abs() / queries.true_boxes[..., 2:].repeat(1, 1, 2)
    assert float(moved.amax()) == pytest.approx(noise, abs=1e-3)
    moved = (queries.keypoints - queries.true_keypoints).abs() / queries.boxes[:, :, None, 2:]
    assert float(moved.amax()) == pytest.approx(noise / 2, abs=1e-3)


def test_without_clean_keypoints_every_one_moves() -> None:
    queries = noised(3, keep_clean=False)
    seen = queries.labelled > 0
    assert (queries.keypoints != queries.true_keypoints).any(-1)[seen].all()


def test_few_keypoints_stay_clean_and_seldom_many() -> None:
    """n are drawn with replacement, P(n) ~ 1/n^2; so many different ones are clean, and each as often as another."""
    targets = [replace(build_target(3, 0), labelled=torch.ones(3, NUM_KEYPOINTS))]
    targets[0].keypoints.clamp_(0.3, 0.7)  # nothing is clamped at the edge of the image
    queries = make_denoising_queries(targets, MANY, DenoisingConfig(), MIRROR, generator=seeded(0))
    clean = (queries.keypoints == queries.true_keypoints).all(-1).flatten(0, 1)
    assert_distributed(clean.sum(-1), distinct_when_drawn_with_replacement(NUM_KEYPOINTS))
    n = torch.arange(1, NUM_KEYPOINTS + 1)
    share = float(((1 - (1 - 1 / NUM_KEYPOINTS) ** n) * inverse_squares(NUM_KEYPOINTS)).sum())
    for k in range(NUM_KEYPOINTS):
        assert_share(clean[:, k], share)


def distinct_when_drawn_with_replacement(last: int) -> torch.Tensor:
    """Probability of 0..last different ones among n draws, P(n) ~ 1/n^2."""
    of_n, total = torch.zeros(last + 1, dtype=torch.float64), torch.zeros(last + 1, dtype=torch.float64)
    of_n[0] = 1
    known = torch.arange(last + 1) / last
    for weight in inverse_squares(last):
        of_n = of_n * known + torch.cat((torch.zeros(1), of_n[:-1] * (1 - known[:-1])))
        total += weight * of_n
    return total


@pytest.mark.parametrize("last", [1, 5, 17])
def test_numbers_of_clicks_fall_with_their_square(last: int) -> None:
    drawn = draw_inverse_square(last, (20_000,), seeded(0))
    assert_distributed(drawn - 1, inverse_squares(last))


def test_an_image_without_persons_gets_noise_that_is_no_person() -> None:
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


def test_images_of_a_batch_have_masks_of_their_own() -> None:
    masks = noised(3, 0, queries=6).person_mask(4)
    assert torch.equal(masks[0], noised(3, queries=6).person_mask(4)[0])
    assert torch.equal(masks[1], noised(0, queries=6).person_mask(4)[0])


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"label_noise": 1.1}, r"label_noise is 1\.1, must be a probability"),
        ({"inversion": -0.1}, r"inversion is -0\.1"),
        ({"box_noise": 1.0}, r"box_noise is 1\.0, must lie in \[0, 1\)"),
        ({"keypoint_noise": -1.0}, r"keypoint_noise is -1\.0"),
    ],
)
def test_noise_that_cannot_be_drawn_is_refused_by_name(changes: dict, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        DenoisingConfig(**changes)
