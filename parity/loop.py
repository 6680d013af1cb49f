"""The feedback loop: who is clicked, what the pose layers are given, and what they answer, round by round."""

import re

import torch
from torch import Tensor

from clickpose.model import ClickPose
from clickpose.model.decoder import LayerOutput
from clickpose.model.positions import inverse_sigmoid
from clickpose.training.feedback import Clicker, FeedbackConfig, run_feedback, worst_keypoints
from clickpose.training.matcher import Match, match
from clickpose.training.targets import Target
from parity.fixture import ACTIVATION, COORDINATE, Fixture, difference
from parity.inference import check_output, encoded_batch, sigmas
from parity.matching import check_match
from parity.recipe import recipe_model
from parity.watch import LayerCall, Round, WatchedLoop, last_references, layer_calls, rows, watch

HOLDS = {"official": "none", "onlycorrection": "none", "holdcurrent": "current", "holdall": "all"}


@torch.inference_mode()
def check_loop(fixture: Fixture) -> None:
    """Play every recorded variant of the loop from the first pass on, and compare each of its rounds."""
    output, _ = encoded_batch(fixture)
    fixture.compare("top20_index", output.logits.amax(-1).topk(20, 1).indices)
    variants = sorted({name.split("/")[0] for name in fixture.arrays if re.match(r"\w+_n\d+/", name)})
    for variant in variants:
        _check_variant(fixture, variant)


def _check_variant(fixture: Fixture, variant: str) -> None:
    (first, values), targets = encoded_batch(fixture), fixture.targets
    model = recipe_model(fixture.meta["K"], fixture.prepared)
    kind, count = re.fullmatch(r"(\w+)_n(\d+)", variant).groups()  # type: ignore[union-attr]
    if kind not in HOLDS:
        raise SystemExit(f"{fixture.path}: {variant} is none of the loops {', '.join(HOLDS)}")
    loop, pose_layers = WatchedLoop(model), model.decoder.layers[model.config.person_layers :]
    with watch(pose_layers) as calls:
        clicks, config = [1] * int(count), FeedbackConfig(hold=HOLDS[kind])
        run_feedback(loop, first, values, targets, Clicker(sigmas(fixture), config), clicks)  # type: ignore[arg-type]
    by_layer = [layer_calls(calls[layer], values.valid_ratios) for layer in pose_layers]

    best = best_persons(first, model.config.num_refined)
    matched, before = match(best, targets, sigmas(fixture)), best
    check_match(fixture, f"{variant}/{{}}_", matched, "slot", "gt")
    for number, played in enumerate(loop.rounds):
        prefix = f"{variant}/it{number}"
        fixture.compare(f"{prefix}_clicks", clicks_made(before, matched, targets), COORDINATE)
        check_round_input(fixture, prefix, played)
        _check_references(fixture, prefix, model, [layer[number] for layer in by_layer], played.free)
        before = played.layers[-1]
        fixture.compare(f"{prefix}_out_kpt", before.keypoints.flatten(-2), COORDINATE)  # type: ignore[union-attr]
        fixture.compare(f"{prefix}_out_logits", before.logits, ACTIVATION)
        fixture.compare(f"{prefix}_out_boxes", before.boxes, COORDINATE)
    if kind == "onlycorrection":
        shown = LayerOutput(best.logits, loop.rounds[-1].boxes, loop.rounds[-1].keypoints)
        check_output(fixture, f"{variant}/pred", shown, visibility=1.0)
    else:
        check_output(fixture, f"{variant}/pred", before)


def best_persons(output: LayerOutput, count: int) -> LayerOutput:
    best = output.logits.amax(-1).topk(count, 1).indices
    assert output.keypoints is not None
    return LayerOutput(rows(output.logits, best), rows(output.boxes, best), rows(output.keypoints, best))


def check_round_input(fixture: Fixture, prefix: str, played: Round) -> None:
    """Compare what the pose layers are given; boxes are recorded as logits, which are steep near 0 and 1."""
    fixture.compare(f"{prefix}_in_kpt", played.keypoints, COORDINATE)
    logits = f"{prefix}_in_box_unsigmoid"
    given = inverse_sigmoid(played.boxes).sigmoid()
    fixture.note(logits, difference(given, fixture.tensor(logits).sigmoid().numpy()), COORDINATE)
    fixture.compare(f"{prefix}_delta_mask", played.free)


def _check_references(fixture: Fixture, prefix: str, model: ClickPose, calls: list[LayerCall], free: Tensor) -> None:
    references = [call.boxes for call in calls]
    references.append(last_references(model, calls[-1], model.config.num_keypoints + 1, free))
    for i, boxes in enumerate(references):
        stored = fixture[f"{prefix}_ref{i}"].shape[1]
        fixture.compare(f"{prefix}_ref{i}", boxes[:, :stored], COORDINATE)


def clicks_made(before: LayerOutput, matched: Match, targets: list[Target]) -> Tensor:
    """Rows of image, slot, keypoint, x, y and how much worse the keypoint was than the next."""
    truth = matched.gather(targets)
    assert before.keypoints is not None
    keypoints = before.keypoints[matched.image, matched.slot]
    keypoint = worst_keypoints(keypoints, truth, 1).int().argmax(-1)
    error = (keypoints - truth.keypoints).abs().sum(-1) * truth.labelled
    worst = error.topk(2).values
    xy = truth.keypoints[torch.arange(len(keypoint)), keypoint]
    columns = (matched.image, matched.slot, keypoint, *xy.unbind(-1), worst[:, 0] - worst[:, 1])
    return torch.stack([column.float() for column in columns], -1)
