"""Losses equal slow hand-written twins, are least at the truth, and never see a missing label."""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clickpose.errors import InvalidConfig
from clickpose.model.decoder import LayerOutput
from clickpose.training.denoising import DenoisingConfig, make_denoising_queries
from clickpose.training.losses import (
    LossConfig,
    denoising_losses,
    focal_loss,
    layer_losses,
    total_loss,
    varifocal_loss,
)
from clickpose.training.matcher import match
from clickpose.training.output import TrainingOutput
from clickpose.training.targets import Target
from tests.clickpose.builders import MIRROR, NUM_KEYPOINTS, SIGMAS, build_output, build_target, perfect_output, seeded

TARGETS = [build_target(2, 1), build_target(3, 2)]
PERSON = 1


def slow_focal(logit: float, wanted: bool) -> float:
    """Lin et al. 2017, eq. 5, alpha .25, gamma 2."""
    p = 1 / (1 + math.exp(-logit))
    return -0.25 * (1 - p) ** 2 * math.log(p) if wanted else -0.75 * p**2 * math.log(1 - p)


def slow_oks(keypoints: Tensor, target: Target, person: int) -> float:
    terms = []
    for k in range(NUM_KEYPOINTS):
        if target.labelled[person, k]:
            squared = float(((keypoints[k] - target.keypoints[person, k]) ** 2).sum())
            terms.append(math.exp(-squared / (2 * float(target.areas[person]) * (2 * float(SIGMAS[k])) ** 2)))
    return sum(terms) / len(terms)


def test_layer_losses_equal_a_slow_twin() -> None:
    output, num_persons = build_output(2, 5), 5
    expected = dict.fromkeys(("class", "box", "keypoints", "oks"), 0.0)
    found = match(output, TARGETS, SIGMAS)
    pairs = set(zip(found.image.tolist(), found.slot.tolist(), strict=True))
    for image in range(2):
        for slot in range(5):
            for channel in (0, 1):
                wanted = channel == PERSON and (image, slot) in pairs
                expected["class"] += slow_focal(float(output.logits[image, slot, channel]), wanted)
    for image, slot, person in zip(found.image.tolist(), found.slot.tolist(), found.person.tolist(), strict=True):
        target, keypoints = TARGETS[image], output.keypoints[image, slot]
        expected["box"] += float((output.boxes[image, slot] - target.boxes[person]).abs().sum())
        offset = (keypoints - target.keypoints[person]).abs() * target.labelled[person, :, None]
        expected["keypoints"] += float(offset.sum())
        expected["oks"] += 1 - slow_oks(keypoints, target, person)
    losses = layer_losses(output, TARGETS, SIGMAS, num_persons)
    for name, value in expected.items():
        assert float(losses[name]) == pytest.approx(value / num_persons, rel=1e-4), name


def test_nothing_is_lost_at_the_truth() -> None:
    targets = [build_target(3, 1), build_target(3, 2)]
    losses = layer_losses(perfect_output(targets), targets, SIGMAS, 6)
    assert set(losses) == {"class", "box", "giou", "keypoints", "oks"}
    assert all(float(value) == pytest.approx(0, abs=1e-4) for value in losses.values())


def test_layers_of_boxes_have_no_losses_of_keypoints() -> None:
    assert set(layer_losses(build_output(num_keypoints=None), TARGETS, SIGMAS, 5)) == {"class", "box", "giou"}


def garbled(target: Target) -> Target:
    """The same labels, and anything where there is none."""
    anything = torch.rand(target.keypoints.shape, generator=seeded(8))
    return replace(target, keypoints=torch.where(target.labelled[..., None] > 0, target.keypoints, anything))


def test_missing_labels_never_influence_a_loss_or_a_gradient() -> None:
    answers = []
    for targets in (TARGETS, [garbled(target) for target in TARGETS]):
        output = build_output()
        output.keypoints.requires_grad_()
        losses = layer_losses(output, targets, SIGMAS, 5)
        answers.append((losses, torch.autograd.grad(sum(losses.values()), output.keypoints)[0]))
    (first, first_gradient), (second, second_gradient) = answers
    assert first == second and torch.equal(first_gradient, second_gradient)
    found = match(build_output(), TARGETS, SIGMAS)
    unlabelled = found.gather(TARGETS).labelled == 0
    assert unlabelled.any() and not first_gradient[found.image, found.slot][unlabelled].any()


def test_missing_labels_never_influence_the_repair_of_noise() -> None:
    noise = make_denoising_queries(TARGETS, 6, DenoisingConfig(), MIRROR, generator=seeded(0))
    anything = torch.rand(noise.true_keypoints.shape, generator=seeded(1))
    garbled_noise = replace(
        noise, true_keypoints=torch.where(noise.labelled[..., None] > 0, noise.true_keypoints, anything)
    )
    output = build_output(2, 6)
    assert denoising_losses(output, noise) == denoising_losses(output, garbled_noise)


def test_a_schema_that_lacks_keypoints_still_trains_the_others() -> None:
    blind = [replace(t, labelled=t.labelled * (torch.arange(NUM_KEYPOINTS) < 9)) for t in TARGETS]
    output = build_output()
    output.keypoints.requires_grad_()
    loss = layer_losses(output, blind, SIGMAS, 5)["keypoints"]
    trained = torch.autograd.grad(loss, output.keypoints)[0].abs().sum((0, 1, 3)) > 0
    assert trained[0] and not trained[9:].any()


def test_denoising_losses_equal_a_slow_twin() -> None:
    noise, output = (
        make_denoising_queries(TARGETS, 6, DenoisingConfig(), MIRROR, generator=seeded(0)),
        build_output(2, 6),
    )
    classes = sum(
        slow_focal(logit, channel == PERSON)
        for row in output.logits.flatten(0, 1).tolist()
        for channel, logit in enumerate(row)
    )
    losses = denoising_losses(output, noise)
    assert float(losses["class"]) == pytest.approx(classes / 6, rel=1e-4)
    assert float(losses["box"]) == pytest.approx(float((output.boxes - noise.true_boxes).abs().sum()) / 6, rel=1e-5)
    offset = (output.keypoints - noise.true_keypoints).abs().sum(-1)
    assert float(losses["keypoints"]) == pytest.approx(float(offset[noise.labelled > 0].sum()) / 6, rel=1e-5)


def test_noise_of_an_empty_image_is_no_person() -> None:
    noise, wanted = (
        make_denoising_queries([build_target(0)], 6, DenoisingConfig(), MIRROR, generator=seeded(0)),
        torch.zeros(1, 6, 2),
    )
    output = build_output(1, 6)
    assert float(denoising_losses(output, noise)["class"]) == pytest.approx(
        float(focal_loss(output.logits, wanted)) / 6
    )


def test_the_quality_of_a_pose_is_what_its_score_should_be() -> None:
    """Varifocal loss is least where the score equals the quality."""
    quality = torch.tensor([0.3])
    losses = [float(varifocal_loss(torch.tensor([logit]), quality)) for logit in torch.linspace(-4, 4, 801)]
    best = torch.linspace(-4, 4, 801)[losses.index(min(losses))].sigmoid()
    assert float(best) == pytest.approx(0.3, abs=0.01)


def test_scores_by_quality_equal_a_slow_twin() -> None:
    """Zhang et al. 2021, eq. 2: the OKS where matched, focal background elsewhere."""
    output, found, expected = build_output(2, 5), match(build_output(2, 5), TARGETS, SIGMAS), 0.0
    quality = {
        (image, slot): slow_oks(output.keypoints[image, slot], TARGETS[image], person)
        for image, slot, person in zip(found.image.tolist(), found.slot.tolist(), found.person.tolist(), strict=True)
    }
    for image, slot, channel in itertools.product(range(2), range(5), range(2)):
        p = float(output.logits[image, slot, channel].sigmoid())
        q = quality.get((image, slot), 0.0) if channel == PERSON else 0.0
        expected -= q * (q * math.log(p) + (1 - q) * math.log(1 - p)) if q else 0.75 * p**2 * math.log(1 - p)
    losses = layer_losses(output, TARGETS, SIGMAS, 5, score_target="oks")
    assert float(losses["class"]) == pytest.approx(expected / 5, rel=1e-4)


def test_scores_by_quality_change_the_class_loss_of_pose_layers_only() -> None:
    for output, changes in ((build_output(), True), (build_output(num_keypoints=None), False)):
        person = layer_losses(output, TARGETS, SIGMAS, 5, "person")
        by_quality = layer_losses(output, TARGETS, SIGMAS, 5, "oks")
        assert (person.pop("class") != by_quality.pop("class")) == changes
        assert person == by_quality


def make_training_output(images: int = 2) -> TrainingOutput:
    boxes_only = build_output(images, num_keypoints=None)
    return TrainingOutput(
        boxes_only, [boxes_only, build_output(images, seed=1)], [], None, [build_output(images, seed=2)]
    )


def test_the_total_is_the_weighted_sum_of_every_layer() -> None:
    output, config = make_training_output(), LossConfig()
    total, logs = total_loss(output, TARGETS, SIGMAS, config)
    by_hand = sum(
        config.weights[name] * float(value)
        for layer in [output.proposals, *output.layers, *output.feedback]
        for name, value in layer_losses(layer, TARGETS, SIGMAS, 5).items()
    )
    assert float(total) == pytest.approx(by_hand, rel=1e-5)
    last = layer_losses(output.layers[-1], TARGETS, SIGMAS, 5)
    assert {name: logs[name] for name in last} == {name: float(value) for name, value in last.items()}
    assert logs["feedback_oks"] == float(layer_losses(output.feedback[-1], TARGETS, SIGMAS, 5)["oks"])


def test_the_number_of_persons_of_all_processes_divides() -> None:
    one, two = (total_loss(make_training_output(), TARGETS, SIGMAS, LossConfig(), n)[0] for n in (5.0, 10.0))
    assert float(one) == pytest.approx(2 * float(two), rel=1e-5)


def test_images_without_anyone_give_a_finite_loss() -> None:
    total, _ = total_loss(make_training_output(), [build_target(0), build_target(0)], SIGMAS, LossConfig())
    assert total.isfinite() and total > 0


def part_of(output: TrainingOutput, image: int) -> TrainingOutput:
    """The answer about one image of a batch."""

    def cut(layer: LayerOutput) -> LayerOutput:
        keypoints = None if layer.keypoints is None else layer.keypoints[image, None]
        return LayerOutput(layer.logits[image, None], layer.boxes[image, None], keypoints)

    tensors = {name: x[image, None] for name, x in vars(output.denoising).items() if isinstance(x, Tensor)}
    return TrainingOutput(
        cut(output.proposals),
        [cut(layer) for layer in output.layers],
        [cut(layer) for layer in output.denoised],
        replace(output.denoising, num_persons=(output.denoising.num_persons[image],), **tensors),
        [cut(layer) for layer in output.feedback],
    )


@pytest.mark.parametrize("divisor", ["queries", "batch"])
def test_the_losses_of_the_parts_of_a_batch_add_up_to_its_own(divisor: str) -> None:
    noise = make_denoising_queries(TARGETS, 6, DenoisingConfig(), MIRROR, generator=seeded(0))
    output = replace(make_training_output(), denoised=[build_output(2, 6)], denoising=noise)
    config = LossConfig(denoising_divisor=divisor)
    whole, logs = total_loss(output, TARGETS, SIGMAS, config)
    parts = [total_loss(part_of(output, i), [TARGETS[i]], SIGMAS, config, 5.0, 2) for i in range(2)]
    assert float(whole) == pytest.approx(sum(float(total) for total, _ in parts), rel=1e-5)
    for name, value in logs.items():
        torch.testing.assert_close(sum(part[name] for _, part in parts), value, rtol=1e-5, atol=0)


def test_noise_weighs_the_same_in_a_batch_of_any_size_if_asked() -> None:
    """The published sum doubles with the same images seen twice, the mean over the batch stays."""

    def loss(times: int, divisor: str) -> float:
        noise = make_denoising_queries(TARGETS[:1], 6, DenoisingConfig(), MIRROR, generator=seeded(0))
        tensors = {name: torch.cat([x] * times) for name, x in vars(noise).items() if isinstance(x, Tensor)}
        layer = LayerOutput(*(torch.cat([x] * times) for x in vars(build_output(1, 6)).values() if x is not None))
        real = LayerOutput(*(torch.cat([x] * times) for x in vars(build_output(1, 5)).values() if x is not None))
        output = TrainingOutput(real, [real], [layer], replace(noise, num_persons=(2,) * times, **tensors), [])
        targets = TARGETS[:1] * times
        with_noise = total_loss(output, targets, SIGMAS, LossConfig(denoising_divisor=divisor))[0]
        return float(with_noise - total_loss(replace(output, denoising=None), targets, SIGMAS, LossConfig())[0])

    assert loss(2, "queries") == pytest.approx(2 * loss(1, "queries"), rel=1e-4)
    assert loss(2, "batch") == pytest.approx(loss(1, "batch"), rel=1e-4) == pytest.approx(loss(1, "queries"), rel=1e-4)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"score_target": "iou"}, "score_target is 'iou', must be one of person, oks"),
        ({"denoising_divisor": "persons"}, "denoising_divisor is 'persons', must be one of queries, batch"),
        ({"weights": {"class": 1.0}}, "weights lack box, giou, keypoints, oks"),
        ({"denoising_weights": {"class": 1.0, "box": 1.0, "giou": 1.0}}, "denoising_weights lack keypoints"),
        ({"weights": {**LossConfig().weights, "colour": 1.0}}, "weights name the unknown loss colour"),
    ],
)
def test_weights_that_fit_no_loss_are_refused_by_name(changes: dict, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        LossConfig(**json.loads(json.dumps(changes)))
