"""A training step: noise beside the real queries changes nothing for them, and chance is in one generator."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.model import ClickPose
from clickpose.training.batches import Batch, pad_together
from clickpose.training.config import TrainConfig
from clickpose.training.feedback import FeedbackConfig
from clickpose.training.forward import training_forward
from clickpose.training.losses import LossConfig, total_loss
from clickpose.training.output import TrainingOutput
from tests.clickpose.builders import SIGMAS, SKELETON, build_images, build_model, build_target, seeded

TARGETS = [build_target(2, 1), build_target(3, 2)]
NEVER = FeedbackConfig(probability=0)


def step(model: ClickPose, *, noise: int = 6, feedback: FeedbackConfig = NEVER, seed: int = 0, targets=TARGETS):
    return training_forward(
        model,
        Batch(build_images(), targets),
        SKELETON,
        TrainConfig(num_denoised=noise, feedback=feedback),
        seeded(seed),
    )


def test_noise_changes_nothing_for_real_queries() -> None:
    model = build_model(person_layers=2)
    with_noise, without = step(model), step(model, noise=0)
    assert len(with_noise.denoised) == len(with_noise.layers) == 4 and without.denoised == []
    for first, second in zip(with_noise.layers, without.layers, strict=True):
        torch.testing.assert_close(first.logits, second.logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(first.boxes, second.boxes, atol=1e-5, rtol=1e-4)


def test_noise_is_repaired_with_an_eye_on_real_persons() -> None:
    model = build_model()
    before = step(model).denoised[-1]
    torch.nn.init.normal_(model.decoder.keypoint_content.weight)  # of real persons only
    after = step(model).denoised[-1]
    assert not torch.allclose(before.keypoints, after.keypoints, atol=1e-4)


def test_training_sees_what_inference_sees() -> None:
    model = build_model()
    trained = step(model).layers[-1]
    memory = model.encode(build_images())
    inferred = model.estimate_poses(model.find_persons(memory), model.decoder.pose_values(memory))
    torch.testing.assert_close(trained.keypoints, inferred.keypoints, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(trained.logits, inferred.logits, atol=1e-5, rtol=1e-4)


def loss_of(output: TrainingOutput) -> float:
    return float(total_loss(output, TARGETS, SIGMAS, LossConfig())[0].detach())


def test_the_seed_decides_about_all_that_is_random() -> None:
    model = build_model()
    first, again, other = (loss_of(step(model, feedback=FeedbackConfig(), seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_the_loop_runs_as_often_as_asked() -> None:
    model = build_model()
    assert step(model).feedback == []
    looped = step(model, feedback=FeedbackConfig(probability=1, max_rounds=1)).feedback
    assert len(looped) == model.config.pose_layers
    assert looped[-1].keypoints.shape[1] == model.config.num_refined


@pytest.mark.parametrize("counts", [(0, 3), (0, 0), (5, 1)])
def test_any_number_of_persons_can_be_learnt_from(counts: tuple[int, int]) -> None:
    targets, model = [build_target(n, i) for i, n in enumerate(counts)], build_model()
    output = step(model, feedback=FeedbackConfig(max_rounds=2), targets=targets)
    total, _ = total_loss(output, targets, SIGMAS, LossConfig())
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(g.isfinite().all() for g in gradients)


def test_every_trained_weight_gets_a_gradient_but_the_size_of_keypoints() -> None:
    """So that data parallelism waits for no worker."""
    model = build_model()
    total_loss(step(model, feedback=FeedbackConfig(max_rounds=1)), TARGETS, SIGMAS, LossConfig())[0].backward()
    silent = {name for name, p in model.named_parameters() if p.requires_grad and p.grad is None}
    assert all(name.startswith("decoder.keypoint_size_head") for name in silent)


def test_loops_of_a_step_begin_alike_and_have_clicks_of_their_own() -> None:
    model = build_model()
    config = FeedbackConfig(repeats=3, max_rounds=1, order="random", hold="all")
    looped = step(model, feedback=config).feedback
    ends = looped[model.config.pose_layers - 1 :: model.config.pose_layers]
    assert len(ends) == 3
    assert not torch.allclose(ends[0].keypoints, ends[1].keypoints, atol=1e-4)


class Mosaic(nn.Module):
    """Features that are means of patches: unlike others they see neither padding nor how much of it there is."""

    def forward(self, images: Tensor) -> list[Tensor]:
        channels = images.repeat(1, 11, 1, 1)[:, :32]
        return [F.avg_pool2d(channels, stride) for stride in (8, 16, 32)]


def test_a_padded_image_is_learnt_from_as_if_it_were_alone() -> None:
    model = build_model()
    model.backbone, model.projection = Mosaic(), nn.Identity()
    nn.init.zeros_(model.decoder.reference_head.layers[-1].weight)  # as published, it is told places on the padded map
    alone = [build_images(1, (64, 96))[0], build_images(1, (128, 64), seed=1)[0]]
    config = TrainConfig(num_denoised=0, feedback=FeedbackConfig(max_rounds=1))

    def losses_of(numbers: list[int]) -> Tensor:
        images, padding = pad_together([alone[i] for i in numbers])
        targets = [TARGETS[i] for i in numbers]
        assert (padding is None) == (len(numbers) == 1)
        output = training_forward(model, Batch(images, targets, padding), SKELETON, config, seeded(0))
        return total_loss(output, targets, SIGMAS, LossConfig(), num_persons=5.0)[0]

    torch.testing.assert_close(losses_of([0, 1]), losses_of([0]) + losses_of([1]), rtol=1e-5, atol=0)
