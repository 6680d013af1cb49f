"""The matcher finds what trying every assignment finds."""

import itertools
import math

import pytest
import torch

from clickpose.match_costs import box_cost, class_cost, keypoint_cost, object_keypoint_similarity
from clickpose.model.decoder import LayerOutput
from clickpose.training.matcher import match
from clickpose.training.targets import Target
from tests.clickpose.builders import NUM_KEYPOINTS, SIGMAS, build_output, build_target, perfect_output


def pair_cost(output: LayerOutput, target: Target, slot: int, person: int) -> float:
    """Section 7.3 of the method, one pair at a time."""
    p = 1 / (1 + math.exp(-float(output.logits[0, slot, 1])))
    cost = 2 * (0.25 * (1 - p) ** 2 * -math.log(p + 1e-8) - 0.75 * p**2 * -math.log(1 - p + 1e-8))
    if output.keypoints is None:
        box, truth = output.boxes[0, slot].tolist(), target.boxes[person].tolist()
        return cost + 5 * sum(abs(a - b) for a, b in zip(box, truth, strict=True)) - 2 * slow_giou(box, truth)
    distance = similarity = 0.0
    for k in range(NUM_KEYPOINTS):
        if target.labelled[person, k]:
            dx, dy = (output.keypoints[0, slot, k] - target.keypoints[person, k]).tolist()
            distance += abs(dx) + abs(dy)
            similarity += math.exp(-(dx**2 + dy**2) / (2 * float(target.areas[person]) * (2 * float(SIGMAS[k])) ** 2))
    oks = max(similarity / (float(target.labelled[person].sum()) + 1e-6), 1e-6)
    return cost + 10 * distance + 4 * (1 - oks)


def slow_giou(box: list[float], other: list[float]) -> float:
    (l0, t0, r0, b0), (l1, t1, r1, b1) = ((x - w / 2, y - h / 2, x + w / 2, y + h / 2) for x, y, w, h in (box, other))
    inner = max(0, min(r0, r1) - max(l0, l1)) * max(0, min(b0, b1) - max(t0, t1))
    union = (r0 - l0) * (b0 - t0) + (r1 - l1) * (b1 - t1) - inner
    hull = (max(r0, r1) - min(l0, l1)) * (max(b0, b1) - min(t0, t1))
    return inner / (union + 1e-6) - (hull - union) / (hull + 1e-6)


def test_every_pair_costs_what_the_method_says() -> None:
    output, target = build_output(1, 5), build_target(3)
    classes = 2 * class_cost(output.logits[0, :, 1].sigmoid())[:, None]
    by_keypoints = classes + keypoint_cost(output.keypoints[0], target.keypoints, target.labelled, target.areas, SIGMAS)
    by_boxes, without = classes + box_cost(output.boxes[0], target.boxes), build_output(1, 5, num_keypoints=None)
    for slot, person in itertools.product(range(5), range(3)):
        assert float(by_keypoints[slot, person]) == pytest.approx(pair_cost(output, target, slot, person), rel=1e-4)
        assert float(by_boxes[slot, person]) == pytest.approx(pair_cost(without, target, slot, person), abs=1e-4)


@pytest.mark.parametrize("num_keypoints", [NUM_KEYPOINTS, None], ids=["by keypoints", "by boxes"])
@pytest.mark.parametrize("seed", range(6))
def test_no_other_assignment_is_cheaper(num_keypoints: int | None, seed: int) -> None:
    output, target = build_output(1, 5, seed, num_keypoints=num_keypoints), build_target(3, seed)
    found = match(output, [target], SIGMAS)
    assert sorted(found.person.tolist()) == [0, 1, 2]
    costs = {
        slots: sum(pair_cost(output, target, slot, person) for person, slot in enumerate(slots))
        for slots in itertools.permutations(range(5), 3)
    }
    best = min(costs, key=lambda slots: costs[slots])
    assert dict(zip(found.person.tolist(), found.slot.tolist(), strict=True)) == dict(enumerate(best))


def test_images_are_matched_each_on_their_own() -> None:
    output, targets = build_output(3), [build_target(2, 1), build_target(0), build_target(3, 2)]
    together = match(output, targets, SIGMAS)
    for i, target in enumerate(targets):
        one = LayerOutput(output.logits[i : i + 1], output.boxes[i : i + 1], output.keypoints[i : i + 1])
        apart, here = match(one, [target], SIGMAS), together.image == i
        assert together.slot[here].tolist() == apart.slot.tolist()
        assert together.person[here].tolist() == apart.person.tolist()


def test_everyone_finds_their_own_pose() -> None:
    targets = [build_target(4, 1), build_target(4, 2)]
    found = match(perfect_output(targets), targets, SIGMAS)
    assert found.slot.tolist() == found.person.tolist() == [0, 1, 2, 3] * 2


def test_boxes_decide_when_all_keypoints_are_zero_as_published() -> None:
    output, targets = build_output(), [build_target(2, 1), build_target(3, 2)]
    zeros = LayerOutput(output.logits, output.boxes, torch.zeros_like(output.keypoints))
    by_zeros = match(zeros, targets, SIGMAS)
    by_boxes = match(LayerOutput(output.logits, output.boxes, None), targets, SIGMAS)
    assert by_zeros.slot.tolist() == by_boxes.slot.tolist()


def test_more_persons_than_predictions_leave_persons_over() -> None:
    found = match(build_output(1, 2), [build_target(4)], SIGMAS)
    assert sorted(found.slot.tolist()) == [0, 1] and len(set(found.person.tolist())) == 2


def test_without_persons_nothing_is_matched() -> None:
    found = match(build_output(), [build_target(0), build_target(0)], SIGMAS)
    truth = found.gather([build_target(0), build_target(0)])
    assert len(found.slot) == len(truth) == 0 and truth.keypoints.shape == (0, NUM_KEYPOINTS, 2)


def test_matched_persons_line_up() -> None:
    targets = [build_target(3, 1), build_target(2, 2)]
    found = match(build_output(), targets, SIGMAS)
    truth = found.gather(targets)
    for row, (image, person) in enumerate(zip(found.image.tolist(), found.person.tolist(), strict=True)):
        assert torch.equal(truth.keypoints[row], targets[image].keypoints[person])
        assert truth.areas[row] == targets[image].areas[person]


def test_similarity_is_one_at_the_truth_and_nothing_without_labels() -> None:
    target = build_target()
    at_truth = object_keypoint_similarity(target.keypoints, target.keypoints, target.labelled, target.areas, SIGMAS)
    torch.testing.assert_close(at_truth, torch.ones(3))
    nobody = torch.zeros_like(target.labelled)
    assert not object_keypoint_similarity(target.keypoints, target.keypoints, nobody, target.areas, SIGMAS).any()
