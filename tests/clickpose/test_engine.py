"""Training learns, resumes bit for bit, averages as it says, and refuses what cannot be run."""

import copy
import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from clickpose.annotations import AnnotationSet, PersonAnnotation
from clickpose.errors import InvalidConfig
from clickpose.model import ClickPose, tiny
from clickpose.synthetic import DrawnPeople
from clickpose.training.augment import Augment
from clickpose.training.batches import Batch, EpochShare, TrainingBatches
from clickpose.training.config import TrainConfig, demo_training, fine_tuning, published
from clickpose.training.crops import CropConfig
from clickpose.training.feedback import FeedbackConfig
from clickpose.training.loop import backward, mean_over_processes, rate_factor, train_one_epoch, update_average
from clickpose.training.scenes import SceneConfig
from clickpose.training.state import TrainState, build_state, unwrap
from tests.clickpose.builders import SKELETON, build_model

DRAWN = DrawnPeople(SKELETON, num_images=2, size_wh=(96, 96), max_persons=2)
CROPS = CropConfig((64, 96), crop=0.5, crop_from_px=(96,), crop_sides_px=(48, 90))
STILL = SceneConfig(((96, 96),), max_pictures=1, scale=(1, 1), rotation_deg=0, shift=0, flip=0, colour=0)
CONFIG = TrainConfig(
    epochs=2,
    batch_size=2,
    scenes_per_epoch=6,
    learning_rate=2e-3,
    backbone_learning_rate=1e-3,
    clip_norm=1.0,
    schedule="constant",
    num_denoised=4,
    feedback=FeedbackConfig(max_rounds=2),
    augment=STILL,
)


def batches(
    epoch: int = 0, config: TrainConfig = CONFIG, annotations: AnnotationSet = DRAWN.annotations
) -> list[Batch]:
    scenes = TrainingBatches(annotations, DRAWN.load_image, tiny(), config, EpochShare(epoch))
    return [scenes[step] for step in range(len(scenes))]


def new_state(config: TrainConfig = CONFIG) -> TrainState:
    torch.manual_seed(0)
    return build_state(ClickPose(tiny()), SKELETON, config)


def gradient(state: TrainState) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in unwrap(state.network).parameters() if p.grad is not None])


def tensors(value: object) -> Iterator[torch.Tensor]:
    """All tensors and numbers of a nested state, in order."""
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from tensors(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, torch.Tensor | int | float):
        yield torch.as_tensor(value)


def test_two_images_are_learnt_by_heart() -> None:
    config = replace(CONFIG, scenes_per_epoch=2, learning_rate=4e-3, backbone_learning_rate=2e-3, clip_norm=10.0)
    state = new_state(config)
    first = train_one_epoch(state, batches(config=config), config, 1)
    for epoch in range(1, 40):
        last = train_one_epoch(state, batches(epoch, config), config, 1)
    assert last["train/loss"] < 0.6 * first["train/loss"]
    assert last["train/keypoints"] < 0.6 * first["train/keypoints"]


@pytest.mark.parametrize("augment", [STILL, CROPS])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(augment: Augment) -> None:
    config = replace(CONFIG, augment=augment)
    unbroken = new_state()
    for epoch in range(2):
        train_one_epoch(unbroken, batches(epoch, config), config, 3)

    begun, file = new_state(), io.BytesIO()
    train_one_epoch(begun, batches(0, config), config, 3)
    torch.save(begun.state_dict(next_epoch=1), file)
    resumed = build_state(build_model(), SKELETON, config)
    resumed.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert (resumed.first_epoch, resumed.step) == (1, 3)
    train_one_epoch(resumed, batches(resumed.first_epoch, config), config, 3)

    first, second = (list(tensors(state.state_dict(2))) for state in (unbroken, resumed))
    assert len(first) == len(second) > 500
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_is_not_labelled_changes_nothing_from_file_to_weights() -> None:
    """Noise, clicks and all: wherever a missing keypoint is said to be, training is the same to the bit."""

    def train(missing_px: float) -> list[torch.Tensor]:
        images = [
            replace(image, persons=tuple(without(person, [0, 5], missing_px) for person in image.persons))
            for image in DRAWN.annotations.images
        ]
        state = new_state()
        losses = train_one_epoch(
            state, batches(annotations=replace(DRAWN.annotations, images=tuple(images))), CONFIG, 3
        )
        return [torch.tensor(list(losses.values())), *unwrap(state.network).parameters()]

    assert all(torch.equal(a, b) for a, b in zip(train(0.0), train(50.0), strict=True))


def without(person: PersonAnnotation, missing: list[int], missing_px: float) -> PersonAnnotation:
    visibility, keypoints_px = person.visibility.copy(), person.keypoints_px.copy()
    visibility[missing] = 0
    keypoints_px[visibility == 0] = missing_px
    return replace(person, visibility=visibility, keypoints_px=keypoints_px)


def test_a_step_of_several_batches_is_that_of_the_large_batch() -> None:
    """Without noise and clicks, which are drawn for each batch."""
    config = replace(CONFIG, num_denoised=0, feedback=FeedbackConfig(probability=0))
    small = batches(config=replace(config, batch_size=1, scenes_per_epoch=4))
    assert [len(batch.targets[0]) for batch in small] != [1, 1, 1, 1]
    large = Batch(torch.cat([batch.images for batch in small]), [batch.targets[0] for batch in small])
    losses, gradients = [], []
    for parts in ([large], small):
        state = new_state(config)
        logs = backward(state, parts, replace(config, accumulate=len(parts)))
        losses.append({name: float(value) for name, value in logs.items()})
        gradients.append(gradient(state))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[0].norm()


def test_several_batches_make_one_step() -> None:
    config, told = replace(CONFIG, accumulate=2), []
    state = new_state(config)
    train_one_epoch(state, batches(config=config), config, 2, lambda step, losses: told.append(step))
    assert told == [1, 2] and state.step == 2  # of two batches, and of the third


def test_frozen_weights_stay_and_the_others_move() -> None:
    state = new_state()
    before = copy.deepcopy(unwrap(state.network).state_dict())
    train_one_epoch(state, batches(), CONFIG, 3)
    model = unwrap(state.network)
    for name, parameter in model.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == parameter.requires_grad or name.startswith("decoder.keypoint_size_head"), name


def test_gradients_are_clipped() -> None:
    config, state = replace(CONFIG, clip_norm=1e-3), new_state()
    train_one_epoch(state, batches(), config, 3)
    norms = [p.grad.norm() for p in unwrap(state.network).parameters() if p.grad is not None]
    assert float(torch.stack(norms).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_progress_is_told_step_by_step_and_losses_are_averaged() -> None:
    told: list[tuple[int, dict]] = []
    metrics = train_one_epoch(new_state(), batches(), CONFIG, 3, lambda step, logs: told.append((step, dict(logs))))
    assert [step for step, _ in told] == [1, 2, 3]
    assert metrics["train/box"] == pytest.approx(sum(float(logs["box"]) for _, logs in told) / 3)
    assert {"train/loss", "train/class", "train/giou", "train/keypoints", "train/oks"} <= set(metrics)


def test_the_average_follows_the_model_slowly_and_the_start_is_forgotten() -> None:
    average, model = build_model(), build_model()
    for parameter in model.parameters():
        parameter.data += 1
    start = next(average.parameters()).clone()
    update_average(average, model, decay=0.9, step=1000)
    torch.testing.assert_close(next(average.parameters()), start + 0.1)
    update_average(average, model, decay=0.9, step=0)
    torch.testing.assert_close(next(average.parameters()), start + 0.1 + 0.9 * 0.9)


def test_a_tensor_with_two_names_is_averaged_once() -> None:
    average, model = build_model(), build_model()
    for network in (average, model):
        network.decoder.box_heads[1] = network.decoder.box_heads[0]
    weight, start = model.decoder.box_heads[0].layers[0].weight, average.decoder.box_heads[0].layers[0].weight.clone()
    weight.data += 1
    update_average(average, model, decay=0.9, step=1000)
    torch.testing.assert_close(average.decoder.box_heads[1].layers[0].weight, start + 0.1)


def test_the_average_is_kept_apart_from_training() -> None:
    state = new_state()
    train_one_epoch(state, batches(), CONFIG, 3)
    assert not state.average.training and not any(p.requires_grad for p in state.average.parameters())
    assert any(
        not torch.equal(a, b)
        for a, b in zip(state.average.parameters(), unwrap(state.network).parameters(), strict=True)
    )


def test_the_backbone_learns_at_a_rate_of_its_own_and_frozen_weights_at_none() -> None:
    state = new_state()
    others, backbone = state.optimizer.param_groups
    model = unwrap(state.network)
    assert (others["lr"], backbone["lr"]) == (CONFIG.learning_rate, CONFIG.backbone_learning_rate)
    assert {id(p) for p in backbone["params"]} == {id(p) for p in model.backbone.parameters() if p.requires_grad}
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for group in (others, backbone) for p in group["params"]} == trained


def factors(steps: list[int], **changes) -> list[float]:
    return [rate_factor(replace(CONFIG, epochs=10, **changes), step, steps_per_epoch=5) for step in steps]


def test_rates_follow_their_schedule() -> None:
    assert factors([0, 25, 500], schedule="constant") == [1, 1, 1]
    assert factors([0, 39, 40, 49], schedule="step", drop_after=0.8) == pytest.approx([1, 1, 0.1, 0.1])
    assert factors([0, 25, 50, 60], schedule="cosine") == pytest.approx([1, 0.5, 0, 0])
    assert factors([10], schedule="cosine") == pytest.approx([0.5 * (1 + math.cos(math.pi / 5))])


def test_rates_rise_linearly_at_first() -> None:
    assert factors([0, 1, 2, 3, 4, 9], schedule="constant", warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])


def test_one_process_is_its_own_mean() -> None:
    assert mean_over_processes(7.0, torch.device("cpu")) == 7.0


@pytest.mark.parametrize("config", [TrainConfig(), demo_training(), fine_tuning(), CONFIG])
def test_settings_survive_json(config: TrainConfig) -> None:
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_published_settings_are_the_defaults() -> None:
    config = TrainConfig()
    assert config == published() and config.augment == CropConfig()
    assert (config.learning_rate, config.backbone_learning_rate, config.clip_norm) == (1e-4, 1e-5, 0.1)
    assert (config.feedback.hold, config.feedback.probability, config.losses.score_target) == ("none", 1.0, "person")


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"schedule": "linear"}, "schedule is 'linear', must be one of step, cosine, constant"),
        ({"precision": "float16"}, "precision is 'float16', must be one of float32, bfloat16"),
        ({"epochs": 0}, "epochs is 0, must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0"),
        ({"clip_norm": math.nan}, "clip_norm is nan"),
        ({"weight_decay": -1.0}, r"weight_decay is -1\.0"),
        ({"num_denoised": -1}, "num_denoised is -1"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"ema_decay": 1.0}, r"ema_decay is 1\.0"),
        ({"drop_after": 80}, "drop_after is 80, must be a share"),
        ({"momentum": 0.9}, "momentum"),
        ({"epochs": "ten"}, "training settings"),
        ({"feedback": {"hold": "some"}}, "hold is 'some'"),
        ({"feedback": {"clicks": 3}}, "clicks"),
        ({"losses": {"score_target": "iou"}}, "score_target is 'iou'"),
        ({"augment": {"max_pictures": 3}}, "max_pictures is 3"),
        ({"augment": {"crop": 2}}, "crop is 2"),
        ({"augment": {"crop": 0.5, "colour": 0}}, "augment: no augmentation has all of crop, colour"),
        ({"augment": 4}, "training settings"),
    ],
)
def test_bad_settings_are_refused_by_name(changes: dict, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        TrainConfig.from_dict(changes)


def test_frozen_weights_stay_and_the_others_learn() -> None:
    config = replace(CONFIG, frozen=("backbone.", "decoder.layers.0."))
    state = new_state(config)
    before = copy.deepcopy(unwrap(state.network).state_dict())
    train_one_epoch(state, batches(config=config), config, 3)
    changed = {name for name, weight in unwrap(state.network).state_dict().items() if not weight.equal(before[name])}
    assert changed and not any(name.startswith(config.frozen) for name in changed)


def test_weights_that_do_not_exist_cannot_be_frozen() -> None:
    with pytest.raises(InvalidConfig, match="frozen is 'bakcbone'"):
        new_state(replace(CONFIG, frozen=("bakcbone",)))
