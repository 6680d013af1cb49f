"""Persons are decoded each on their own, held keypoints stay, and gradients go where the method sends them."""

import pytest
import torch
from torch import Tensor

from clickpose.model import ClickPose
from clickpose.model.decoder import LayerOutput
from tests.clickpose.builders import NUM_KEYPOINTS, MaskedDecoder, build_images, build_model, seeded

GROUP = NUM_KEYPOINTS + 1
MARGIN = 2e-3  # of the coordinates that a logit can hold


def random_persons(count: int = 4, images: int = 2) -> tuple[Tensor, Tensor]:
    """Contents and references of persons and their keypoints."""
    generator = seeded(0)
    content = torch.randn(images, count, GROUP, 32, generator=generator)
    return content, 0.2 + 0.5 * torch.rand(images, count, GROUP, 4, generator=generator)


def decode(model: ClickPose, content: Tensor, references: Tensor, **how) -> LayerOutput:
    values = model.decoder.pose_values(model.encode(build_images()))
    with torch.inference_mode():
        return model.decoder.decode_poses(content, references, values, **how)[-1]


def assert_same(first: LayerOutput, second: LayerOutput) -> None:
    for a, b in ((first.logits, second.logits), (first.boxes, second.boxes), (first.keypoints, second.keypoints)):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def part(output: LayerOutput, persons: slice) -> LayerOutput:
    return LayerOutput(output.logits[:, persons], output.boxes[:, persons], output.keypoints[:, persons])


def test_grouped_persons_equal_the_masked_form() -> None:
    model, (content, references) = build_model(), random_persons()
    person = torch.arange(4).repeat_interleave(GROUP)
    grouped = decode(model, content, references)
    model.decoder = MaskedDecoder(model.decoder, (person[:, None] != person).expand(2, -1, -1))
    assert_same(grouped, decode(model, content, references))


def test_a_person_does_not_depend_on_the_others() -> None:
    model, (content, references) = build_model(), random_persons()
    together = decode(model, content, references)
    assert_same(part(together, slice(1, 3)), decode(model, content[:, 1:3], references[:, 1:3]))


def test_without_any_person_there_is_an_empty_answer() -> None:
    content, references = random_persons()
    assert decode(build_model(), content[:, :0], references[:, :0]).keypoints.shape == (2, 0, NUM_KEYPOINTS, 2)


def test_held_keypoints_stay_and_the_others_know_where() -> None:
    model, (content, references) = build_model(), random_persons()
    free = (torch.rand(2, 4, NUM_KEYPOINTS, generator=seeded(1)) < 0.5).float()
    held, loose = decode(model, content, references, free=free), decode(model, content, references)
    stays = (held.keypoints - references[:, :, 1:, :2]).abs().amax(-1) < 1e-5
    assert stays[free == 0].all() and not stays[free == 1].any()
    assert not torch.allclose(held.keypoints[free == 1], loose.keypoints[free == 1], atol=1e-4)


def test_holding_nothing_is_the_default() -> None:
    model, (content, references) = build_model(), random_persons()
    everything_free = torch.ones(2, 4, NUM_KEYPOINTS)
    assert_same(decode(model, content, references, free=everything_free), decode(model, content, references))


@pytest.mark.parametrize("corner", [0.0, 1.0])
def test_a_keypoint_held_at_the_edge_stays_there_up_to_the_margin(corner: float) -> None:
    model, (content, references) = build_model(), random_persons()
    references[:, :, 1:, :2] = corner
    held = decode(model, content, references, free=torch.zeros(2, 4, NUM_KEYPOINTS))
    assert (held.keypoints - corner).abs().max() < MARGIN


def test_persons_are_selected_best_first_and_no_more_than_there_are() -> None:
    decoder, x = build_model().decoder, torch.randn(2, 9, 32, generator=seeded(3))
    scores = decoder.class_heads[decoder.config.person_layers - 1](x).amax(-1)
    best = decoder.select_persons(x)
    assert best.shape == (2, decoder.config.num_persons)
    torch.testing.assert_close(scores.gather(1, best), scores.sort(descending=True).values[:, : best.shape[1]])
    assert decoder.select_persons(x[:, :3]).shape == (2, 3)


def test_keypoints_start_in_slots_of_their_own_near_the_person() -> None:
    model, boxes = build_model(), torch.full((1, 5, 4), 0.3)
    content, references = model.decoder.start_poses(torch.zeros(1, 5, 32), boxes)
    assert not content[:, :, 0].any()
    assert len({tuple(token) for token in content[0, :, 1:].flatten(0, 1).tolist()}) == 5 * NUM_KEYPOINTS
    assert (references[:, :, 1:, 2:] < boxes[:, :, None, 2:]).all()
    torch.nn.init.zeros_(model.decoder.initial_pose_head.layers[-1].weight)
    _, unmoved = model.decoder.start_poses(torch.zeros(1, 5, 32), boxes)
    torch.testing.assert_close(unmoved[:, :, 1:, :2], boxes[:, :, None, :2].expand(-1, -1, NUM_KEYPOINTS, -1))


def trained_by(model: ClickPose, loss: Tensor) -> set[str]:
    """Names of the parts that a loss changes, down to the single head."""
    model.zero_grad()
    loss.backward(retain_graph=True)
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    return {".".join(name.split(".")[: 3 if "heads" in name else 2]) for name in moved}


def person_outputs(model: ClickPose) -> list[LayerOutput]:
    memory = model.encode(build_images())
    proposals = model.propose(memory)
    contents, boxes = proposals.content.detach(), proposals.boxes.detach()
    return model.decoder.decode_persons(contents, boxes, model.decoder.person_values(memory))[2]


def test_each_layers_boxes_train_its_own_head_and_the_one_before() -> None:
    """Look forward twice (DINO): a head learns from where the next layer starts, too."""
    model = build_model(person_layers=3)
    for i, output in enumerate(person_outputs(model)):
        heads = {name for name in trained_by(model, output.boxes.sum()) if "box_heads" in name}
        assert heads == {f"decoder.box_heads.{j}" for j in (i - 1, i) if j >= 0}


def test_the_size_of_keypoints_is_never_trained_by_their_place() -> None:
    model, (content, references) = build_model(), random_persons()
    values = model.decoder.pose_values(model.encode(build_images()))
    layers = model.decoder.decode_poses(content, references, values)
    names = trained_by(model, sum(layer.keypoints.sum() + layer.boxes.sum() for layer in layers))
    assert "decoder.keypoint_size_head" not in names
    assert {"decoder.pose_heads.0", "decoder.pose_heads.1", "encoder.layers"} <= names
