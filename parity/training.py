"""Training: noised queries and their masks, every supervised layer, losses by name, and gradients."""

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from clickpose.checkpoints.published_names import published_name
from clickpose.model.decoder import LayerOutput
from clickpose.training.denoising import DenoisingQueries
from clickpose.training.fast import prepare
from clickpose.training.feedback import Clicker, run_feedback
from clickpose.training.forward import decode_for_training
from clickpose.training.losses import LossConfig, denoising_losses, layer_losses, total_loss
from clickpose.training.matcher import match
from clickpose.training.output import TrainingOutput
from clickpose.training.targets import Target
from parity.fixture import ACTIVATION, COORDINATE, GRADIENT, RELATIVE, Fixture, difference
from parity.inference import SHOWN_VISIBILITY, check_output, drawn_images, sigmas
from parity.loop import best_persons, check_round_input
from parity.matching import LOSS_NAMES, check_match, class_error, mean_costs
from parity.recipe import recipe_model
from parity.watch import WatchedLoop, rows

TIE = 1e-4  # proposals whose logits are as close may trade ranks


def check_train_loop(fixture: Fixture) -> None:
    """Run one training step with the recorded noise and number of rounds, and compare all it computes."""
    model = prepare(copy.deepcopy(recipe_model(fixture.meta["K"])))
    targets, noise = fixture.targets, recorded_noise(fixture)
    memory = model.encode(*drawn_images(fixture))
    proposals, layers, denoised, values = decode_for_training(model, memory, noise)
    loop, clicks = WatchedLoop(model), [1] * int(fixture["num_loops"])
    looped = run_feedback(loop, layers[-1], values, targets, Clicker(sigmas(fixture)), clicks)  # type: ignore[arg-type]
    output = TrainingOutput(proposals, layers, denoised, noise, looped)

    _check_masks(fixture, noise)
    _check_layers(fixture, output)
    _check_matches(fixture, output, targets)
    matched = match(best_persons(layers[-1], model.config.num_refined), targets, sigmas(fixture))
    check_match(fixture, "loop/{}_", matched, "slot", "gt")
    for number, played in enumerate(loop.rounds):
        check_round_input(fixture, f"loop/it{number}", played)
    _check_losses(fixture, output, targets)

    model.zero_grad()
    total, _ = total_loss(output, targets, sigmas(fixture), LossConfig())
    fixture.compare_by_size("total_loss_f64", total)
    total.backward()
    _check_gradients(fixture, {published_name(name): p for name, p in model.named_parameters()})
    model.zero_grad()


def recorded_noise(fixture: Fixture) -> DenoisingQueries:
    """The noised queries that were drawn when the fixture was made."""
    num_keypoints, num_persons = fixture.meta["K"], tuple(len(target) for target in fixture.targets)
    true_xy, labelled = fixture.tensor("dn/known_pose").split([2 * num_keypoints, num_keypoints], -1)
    return DenoisingQueries(
        labels=fixture.tensor("dn/box_label_index"),
        boxes=fixture.tensor("dn/box_unsigmoid").sigmoid(),
        keypoint_labels=fixture.tensor("dn/kpt_label_index"),
        keypoints=fixture.tensor("dn/keypoints_xy").unflatten(-1, (-1, 2)),
        true_boxes=fixture.tensor("dn/known_boxes"),
        true_keypoints=true_xy.unflatten(-1, (-1, 2)),
        labelled=labelled,
        is_person=fixture.tensor("dn/known_labels") == 1,
        num_persons=num_persons,
    )


def _check_masks(fixture: Fixture, noise: DenoisingQueries) -> None:
    group = noise.keypoints.shape[2] + 1
    for stage, mask, size in (("human", noise.person_mask, 1), ("keypoint", noise.pose_mask, group)):
        shape = fixture[f"dn/attn_mask_{stage}_shape"]
        bits = np.unpackbits(fixture[f"dn/attn_mask_{stage}_packbits"], axis=-1)[..., : shape[-1]]
        ours = mask(int(shape[-1]) // size - noise.count)
        fixture.note(f"dn/attn_mask_{stage}_packbits", difference(ours, bits.reshape(shape)), 0)


def _layer_names(output: TrainingOutput) -> dict[str, LayerOutput]:
    """Supervised layers by their recorded names."""
    auxiliary = {f"aux{i}": layer for i, layer in enumerate([*output.layers[:-1], *output.feedback])}
    return {"out": output.layers[-1], "interm": output.proposals} | auxiliary


def _check_layers(fixture: Fixture, output: TrainingOutput) -> None:
    ranks = _recorded_ranks(fixture, output.proposals)
    for name, layer in _layer_names(output).items():
        if layer.logits.shape[1] == output.proposals.logits.shape[1]:
            layer = LayerOutput(rows(layer.logits, ranks), rows(layer.boxes, ranks), None)
        check_output(fixture, f"{name}/pred", layer)
    for i, layer in enumerate(output.denoised):
        name = f"aux{i}" if i + 1 < len(output.denoised) else "out"
        fixture.compare(f"{name}/dn_class_pred", layer.logits, ACTIVATION)
        fixture.compare(f"{name}/dn_bbox_pred", layer.boxes, COORDINATE)
        if layer.keypoints is not None:
            shown = torch.full_like(layer.keypoints[..., 0], SHOWN_VISIBILITY)
            pose = torch.cat((layer.keypoints.flatten(-2), shown), -1)
            fixture.compare(f"{name}/dn_pose_pred", pose, COORDINATE)


def _recorded_ranks(fixture: Fixture, proposals: LayerOutput) -> Tensor:
    """Which of our ranks each recorded proposal has ``(B, R)``: of those tied with its own, the one with its box."""
    stored = fixture.tensor("aux_query_index_when_900")
    logits, boxes = proposals.logits.amax(-1).detach(), proposals.boxes.detach()
    tied = (logits[:, stored, None] - logits[:, None]).abs() < TIE
    distance = torch.cdist(fixture.tensor("interm/pred_boxes"), boxes, p=1)
    return distance.masked_fill(~tied, float("inf")).argmin(-1)


def _check_matches(fixture: Fixture, output: TrainingOutput, targets: list[Target]) -> None:
    logits = output.proposals.logits.amax(-1).detach()
    for layer_name, layer in _layer_names(output).items():
        name = "final" if layer_name == "out" else layer_name
        matched = match(layer, targets, sigmas(fixture))
        if layer.logits.shape[1] == logits.shape[1]:
            for i, ranks in enumerate(logits):
                ours, recorded = matched.slot[matched.image == i], fixture.tensor(f"match/{name}_src_{i}")
                fixture.note(f"match/{name}_src_{i}", _differing(ranks, ours, recorded), 0)
                fixture.compare(f"match/{name}_tgt_{i}", matched.person[matched.image == i])
        else:
            check_match(fixture, f"match/{name}_{{}}_", matched, "src", "tgt")


def _differing(logits: Tensor, ours: Tensor, recorded: Tensor) -> float:
    """Count the ranks that differ and are no ties."""
    if ours.shape != recorded.shape:
        return float("inf")
    return float(((ours != recorded) & ((logits[ours] - logits[recorded]).abs() >= TIE)).sum())


def _check_losses(fixture: Fixture, output: TrainingOutput, targets: list[Target]) -> None:
    config, ours, weights = LossConfig(), {}, {}
    num_persons = max(1.0, float(sum(len(target) for target in targets)))
    for layer_name, layer in _layer_names(output).items():
        suffix = "" if layer_name == "out" else "_" + layer_name.removeprefix("aux")
        for name, value in layer_losses(layer, targets, sigmas(fixture), num_persons).items():
            ours[f"loss_{LOSS_NAMES[name]}{suffix}"] = float(value.detach())
            ours[f"dn_loss_{LOSS_NAMES[name]}{suffix}"] = 0.0
        ours |= {f"set_{name}{suffix}": float(cost.detach()) for name, cost in mean_costs(layer, targets).items()}
        weights |= {f"loss_{LOSS_NAMES[name]}{suffix}": weight for name, weight in config.weights.items()}
        weights |= {f"dn_loss_{LOSS_NAMES[name]}{suffix}": w for name, w in config.denoising_weights.items()}
    for i, layer in enumerate(output.denoised):
        suffix = "" if i + 1 == len(output.denoised) else f"_{i}"
        assert output.denoising is not None
        losses = denoising_losses(layer, output.denoising)
        ours |= {f"dn_loss_{LOSS_NAMES[name]}{suffix}": float(value.detach()) for name, value in losses.items()}
    ours["class_error"] = class_error(output.layers[-1], match(output.layers[-1], targets, sigmas(fixture)))
    _compare_by_name(fixture, "loss_names", "loss_values_f64", ours)
    _compare_by_name(fixture, "weight_names", "weight_values_f64", weights)


def _compare_by_name(fixture: Fixture, names: str, values: str, ours: Mapping[str, float]) -> None:
    """Compare values relative to each one's size; a name of ours that is missing counts as infinitely wrong."""
    errors = {
        str(name): abs(ours.get(str(name), np.inf) - value) / max(abs(value), 1e-6)
        for name, value in zip(fixture[names], fixture[values], strict=True)
    }
    worst = max(errors, key=lambda name: errors[name])
    fixture.note(f"{values} (worst: {worst})", errors[worst], RELATIVE)


def _check_gradients(fixture: Fixture, parameters: Mapping[str, torch.nn.Parameter]) -> None:
    """Compare norms in units of what is allowed to each; -1 stands for no gradient."""
    names = [str(name) for name in fixture["grad_names"]]
    ours = [-1.0 if (g := parameters[name].grad) is None else float(g.double().norm()) for name in names]
    recorded = fixture["grad_norms_f64"]
    error = np.abs(ours - recorded) / (3e-3 * np.abs(recorded) + 1e-3)
    worst = int(error.argmax())
    fixture.note(f"grad_norms_f64 (worst: {names[worst]})", float(error[worst]), GRADIENT)
    fixture.compare("grad_required", [parameters[name].requires_grad for name in names])
