"""Lighter training: checkpoints compute the same, and bfloat16 never touches a coordinate."""

import copy

import pytest
import torch
from torch import Tensor

from clickpose.model import ClickPose, ModelConfig, tiny
from clickpose.training.batches import Batch
from clickpose.training.config import TrainConfig
from clickpose.training.fast import prepare
from clickpose.training.fast.attention import FastDeformableAttention
from clickpose.training.feedback import FeedbackConfig
from clickpose.training.forward import training_forward
from clickpose.training.losses import LossConfig, total_loss
from clickpose.training.output import TrainingOutput
from tests.clickpose.builders import SIGMAS, SKELETON, build_images, build_model, build_target, seeded

TARGETS = [build_target(2, 1), build_target(3, 2)]
CONFIG = TrainConfig(num_denoised=4, feedback=FeedbackConfig(max_rounds=2, hold="all"))
RESNET = ModelConfig.from_dict({**tiny().to_dict(), "backbone": "resnet18"})


def step(model: ClickPose) -> tuple[TrainingOutput, Tensor, Tensor]:
    """What a training step predicts, its loss and its gradient."""
    model.zero_grad()
    output = training_forward(model, Batch(build_images(), TARGETS), SKELETON, CONFIG, seeded(0))
    loss, _ = total_loss(output, TARGETS, SIGMAS, LossConfig())
    loss.backward()
    return output, loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def light(precision: str = "float32", *, checkpoints: bool = False, config: ModelConfig | None = None) -> ClickPose:
    return prepare(build_model(config), precision=precision, checkpoint_activations=checkpoints)


@pytest.mark.parametrize("config", [tiny(), RESNET])
def test_checkpoints_change_neither_loss_nor_gradient(config: ModelConfig) -> None:
    _, loss, gradient = step(light(config=config))
    _, light_loss, light_gradient = step(light(checkpoints=True, config=config))
    assert torch.equal(loss, light_loss) and torch.equal(gradient, light_gradient)


def test_with_checkpoints_heavy_parts_run_twice_and_keep_less() -> None:
    kept = []
    for checkpoints in (False, True):
        model, runs = light(checkpoints=checkpoints), []
        model.encoder.layers[0].feed_forward.register_forward_pre_hook(lambda *_, runs=runs: runs.append(1))
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            step(model)
        assert len(runs) == 1 + checkpoints
        kept.append(sum(sizes))
    assert kept[1] < 0.5 * kept[0]


def test_in_bfloat16_products_are_and_coordinates_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    model, looked_at, references, products = light("bfloat16"), [], [], []
    sample = FastDeformableAttention.sample

    def watch_sample(self, values, shapes, locations, weights):
        looked_at.extend((values.dtype, locations.dtype, weights.dtype))
        return sample(self, values, shapes, locations, weights)

    def watch_layer(module, given):
        x, positions, boxes, *_ = given
        references.extend((x.dtype, positions.dtype, boxes.dtype))

    monkeypatch.setattr(FastDeformableAttention, "sample", watch_sample)
    for layer in model.decoder.layers:
        layer.register_forward_pre_hook(watch_layer)
    convolution = next(m for m in model.backbone.modules() if isinstance(m, torch.nn.Conv2d))
    linears = [layer.feed_forward.linear1 for layer in (*model.encoder.layers, *model.decoder.layers)]
    for heavy in (convolution, *linears):
        heavy.register_forward_hook(lambda module, args, output: products.append(output.dtype))
    output, loss, gradient = step(model)

    layers = [output.proposals, *output.layers, *output.denoised, *output.feedback]
    answers = {x.dtype for layer in layers for x in vars(layer).values() if x is not None}
    assert {*looked_at, *references, *answers, loss.dtype, gradient.dtype} == {torch.float32}
    assert set(products) == {torch.bfloat16}


def test_bfloat16_learns_what_float32_learns() -> None:
    _, loss, gradient = step(light())
    _, light_loss, light_gradient = step(light("bfloat16"))
    assert float(light_loss) == pytest.approx(float(loss), rel=0.02)
    assert float(torch.cosine_similarity(gradient, light_gradient, dim=0)) > 0.95
    assert light_gradient.isfinite().all()


def test_bfloat16_and_checkpoints_go_together() -> None:
    _, loss, gradient = step(light("bfloat16"))
    _, light_loss, light_gradient = step(light("bfloat16", checkpoints=True))
    assert torch.equal(loss, light_loss) and torch.equal(gradient, light_gradient)


def test_weights_keep_their_names_and_a_copy_runs_its_own() -> None:
    model = light("bfloat16", checkpoints=True)
    assert list(model.state_dict()) == list(build_model().state_dict())
    other = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert torch.equal(step(other)[1], step(light("bfloat16", checkpoints=True))[1])
