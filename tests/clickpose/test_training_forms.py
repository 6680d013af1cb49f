"""The fast form of training learns what the plain one does: the same losses, the same gradients."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor
from torchvision.ops import FrozenBatchNorm2d

from clickpose.model import ClickPose, ModelConfig, tiny
from clickpose.training.batches import Batch
from clickpose.training.config import TrainConfig
from clickpose.training.decoder import attend_masked
from clickpose.training.denoising import DenoisingConfig, make_denoising_queries
from clickpose.training.fast.backbone import fold_norms
from clickpose.training.fast.person_attention import PersonAttention
from clickpose.training.feedback import FeedbackConfig
from clickpose.training.loop import backward
from clickpose.training.state import build_state, unwrap
from parity.plain_training import build_plain_state, make_plain
from tests.clickpose.builders import MIRROR, SKELETON, build_images, build_model, build_target, seeded

RESNET = ModelConfig.from_dict({**tiny().to_dict(), "backbone": "resnet18"})
END = ModelConfig.from_dict({**tiny().to_dict(), "backbone_padding": "end"})
COARSE = ModelConfig.from_dict({**tiny().to_dict(), "encoder_first_level": 1, "mark_held": True})
GROUP, WIDTH = 15, 32
CONFIG = TrainConfig(num_denoised=5, feedback=FeedbackConfig(max_rounds=3))


def with_real_norms(model: ClickPose) -> ClickPose:
    """Batch norms that do something, which those of a new model do not."""
    generator = seeded(7)
    for norm in model.modules():
        if isinstance(norm, FrozenBatchNorm2d):
            norm.weight.copy_(1 + torch.rand(norm.weight.shape, generator=generator))  # or all signal fades
            for value in (norm.bias, norm.running_mean):
                value.copy_(0.1 * torch.randn(value.shape, generator=generator))
    return model


def learn(build, config: TrainConfig, model: ModelConfig, num_persons: tuple[int, int]) -> tuple[float, Tensor]:
    """Loss and gradient of one step."""
    state = build(with_real_norms(build_model(model)), SKELETON, config)
    targets = [build_target(n, seed=i + 1) for i, n in enumerate(num_persons)]
    losses = backward(state, [Batch(build_images(), targets)], config)
    return float(losses["loss"]), torch.cat(
        [p.grad.flatten() for p in unwrap(state.network).parameters() if p.grad is not None]
    )


@cache
def learn_plainly(model: ModelConfig, num_persons: tuple[int, int]) -> tuple[float, Tensor]:
    return learn(build_plain_state, CONFIG, model, num_persons)


@pytest.mark.parametrize("num_persons", [(2, 3), (0, 3)])
@pytest.mark.parametrize("model", [tiny(), RESNET, COARSE], ids=["mobilenet", "resnet", "coarse"])
@pytest.mark.parametrize("checkpoints", [False, True])
def test_the_fast_form_learns_what_the_plain_one_does(model: ModelConfig, num_persons, checkpoints: bool) -> None:
    config = replace(CONFIG, checkpoint_activations=checkpoints)
    plain_loss, plain_gradient = learn_plainly(model, num_persons)
    loss, gradient = learn(build_state, config, model, num_persons)
    assert loss == pytest.approx(plain_loss, rel=1e-5)
    assert (gradient - plain_gradient).norm() < 1e-3 * plain_gradient.norm()


def test_noised_and_real_persons_attend_as_under_the_published_mask() -> None:
    plain = build_model().decoder.layers[1].self_attention
    noise = make_denoising_queries([build_target(2), build_target(3)], 4, DenoisingConfig(), MIRROR)
    query, value = torch.randn(2, 2, (4 + 3) * GROUP, WIDTH, generator=seeded(1))
    by_mask = attend_masked(plain, query, value, noise.pose_mask(3))
    torch.testing.assert_close(PersonAttention(plain).attend_with_noised(query, value, GROUP, 4), by_mask)


def test_folding_changes_no_feature_and_a_plain_copy_stays_plain() -> None:
    for config in (tiny(), RESNET, END):
        backbone, images = with_real_norms(build_model(config)).backbone, build_images()
        before = backbone(images)
        names = list(backbone.state_dict())
        fold_norms(backbone)
        norms = [m for m in backbone.modules() if isinstance(m, FrozenBatchNorm2d)]
        assert all(torch.equal(norm(images), images) for norm in norms) and list(backbone.state_dict()) == names
        for a, b in zip(backbone(images), before, strict=True):
            assert (a - b).norm() < 1e-4 * b.norm()


def test_the_plain_form_is_plain() -> None:
    model = make_plain(build_model())
    assert {type(part).__name__ for part in model.modules() if type(part).__name__.startswith("Plain")} == {
        "PlainClickPose",
        "PlainProposalHead",
        "PlainDeformableAttention",
        "PlainAttention",
        "PlainDecoder",
    }
