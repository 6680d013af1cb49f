"""The network as inference runs it answers what the network that is trained answers."""

import pytest
import torch
from torch import Tensor, nn

from clickpose.first_guess.looker import MAP_CHANNELS
from clickpose.inference import choices, prepare, prepare_loop, products
from clickpose.inference.attention import QueryAttention
from clickpose.inference.backbone import fold_backbone
from clickpose.inference.layers import PartwiseEncoderLayer
from clickpose.inference.products import Convolution, Product
from clickpose.model import ClickPose
from clickpose.model.backbone import Backbone
from clickpose.model.config import BACKBONES
from clickpose.model.decoder import LayerOutput
from clickpose.person_frame.config import PersonFrameConfig
from clickpose.person_frame.maps import KEPT_SIZES, MapAttention
from clickpose.person_frame.network import PersonFrameNetwork
from tests.clickpose.builders import NUM_KEYPOINTS, build_images, build_model, seeded

LOGITS, COORDINATES = 2e-5, 1e-6


@pytest.fixture(autouse=True, params=[False, True], ids=["plain products", "packed products"])
def packed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way of multiplying is the faster one here, both are tested."""
    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(choices, "packed_products_pay", lambda: request.param)
    monkeypatch.setattr(products, "MIN_PRODUCTS", 0)


@torch.inference_mode()
def first_pass(model: ClickPose, images: Tensor, padding: Tensor | None = None) -> LayerOutput:
    memory = model.encode(images, padding)
    return model.estimate_poses(model.find_persons(memory), model.decoder.pose_values(memory))


@torch.inference_mode()
def one_round(model: ClickPose, images: Tensor, free: Tensor | None) -> list[LayerOutput]:
    boxes = 0.2 + 0.4 * torch.rand(len(images), 3, 4, generator=seeded(1))
    keypoints = torch.rand(len(images), 3, NUM_KEYPOINTS, 2, generator=seeded(2))
    return model.refine(boxes, keypoints, model.decoder.pose_values(model.encode(images)), free)


def assert_equal(ours: LayerOutput, theirs: LayerOutput) -> None:
    torch.testing.assert_close(ours.logits, theirs.logits, atol=LOGITS, rtol=0)
    torch.testing.assert_close(ours.boxes, theirs.boxes, atol=COORDINATES, rtol=0)
    torch.testing.assert_close(ours.keypoints, theirs.keypoints, atol=COORDINATES, rtol=0)


def chosen(part: nn.Module) -> nn.Module:
    choices.choose_kernels(part)
    return part


def calm(model: ClickPose) -> ClickPose:
    """Heads with small steps, so that rounding stays rounding."""
    for head in (*model.decoder.box_heads, *model.decoder.pose_heads, model.decoder.initial_pose_head):
        head.layers[-1].weight.data *= 0.3
    return model


def right_bottom_padding(images: Tensor) -> Tensor:
    padding = torch.zeros(len(images), *images.shape[-2:], dtype=torch.bool)
    padding[0, 48:], padding[1, :, 70:] = True, True
    return padding


@pytest.mark.parametrize("changes", [{}, {"num_levels": 4}, {"encoder_first_level": 1, "mark_held": True}])
@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_first_pass_equals_the_trained_networks(changes: dict, padded: bool) -> None:
    model, images = calm(build_model(**changes)), build_images()
    padding = right_bottom_padding(images) if padded else None
    assert_equal(first_pass(prepare(model), images, padding), first_pass(model, images, padding))


@pytest.mark.parametrize(("backbone", "padding"), [*((name, "both") for name in BACKBONES), ("mobilenet_v2", "end")])
def test_features_equal_with_norms_that_do_something(backbone: str, padding: str) -> None:
    network, images = Backbone(backbone, padding), build_images(1, (64, 64))
    for name, buffer in network.named_buffers():
        buffer.copy_(torch.rand(buffer.shape, generator=seeded(len(name))) * 0.5 + 0.5)
    with torch.inference_mode():
        expected = network(images)
        for ours, theirs in zip(chosen(fold_backbone(network))(images), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5 * float(theirs.abs().max()), rtol=0)


@pytest.mark.parametrize("held", [False, True])
def test_a_round_of_the_loop_equals_the_last_two_layers(held: bool) -> None:
    model = calm(build_model(pose_layers=3, mark_held=True))
    free = (torch.rand(2, 3, NUM_KEYPOINTS, generator=seeded(3)) < 0.7).float() if held else None
    ours, theirs = (one_round(network, build_images(), free) for network in (prepare(model), model))
    assert len(ours) == 2 and len(theirs) == 3
    for mine, expected in zip(ours, theirs[-2:], strict=True):
        assert_equal(mine, expected)


def test_one_pose_layer_and_one_cell_levels_are_no_special_case() -> None:
    model, images = calm(build_model(num_levels=4, pose_layers=1)), build_images(2, (32, 40))
    assert_equal(first_pass(prepare(model), images), first_pass(model, images))


def test_the_trained_network_stays_as_it_is_and_the_copy_does_not_follow_it() -> None:
    model, images = build_model().train(), build_images(1)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    network = prepare(model)
    assert model.training and all(torch.equal(model.state_dict()[name], weight) for name, weight in before.items())
    answer = first_pass(network, images)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert torch.equal(first_pass(network, images).keypoints, answer.keypoints)


def test_parts_of_a_image_are_refined_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    network, images = prepare(calm(build_model())), build_images()
    whole = first_pass(network, images)
    for layer in network.encoder.layers:
        assert isinstance(layer, PartwiseEncoderLayer)
        layer.at_once = 7
    assert_equal(first_pass(network, images), whole)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(0, 32), (1, 32), (3, 5, 32)])
def test_products_equal_linear_layers_side_by_side(relu: bool, shape: tuple[int, ...]) -> None:
    linears, x = [nn.Linear(32, 16), nn.Linear(32, 24)], torch.randn(shape, generator=seeded(0))
    apart = torch.cat([linear(x) for linear in linears], -1)
    product = chosen(Product.of(*linears, relu=relu))
    torch.testing.assert_close(product(x), apart.relu() if relu else apart, atol=1e-6, rtol=0)


def test_products_take_views() -> None:
    linear, x = nn.Linear(16, 16), torch.randn(4, 6, 40, generator=seeded(0))[:, ::2, 3:19].transpose(0, 1)
    torch.testing.assert_close(chosen(Product.of(linear))(x), linear(x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
@pytest.mark.parametrize(
    "settings", [{}, {"stride": 2, "padding": 1}, {"groups": 8, "padding": 1}, {"kernel_size": 1, "stride": (2, 1)}]
)
def test_convolutions_equal(activation: str, settings: dict) -> None:
    conv, x = nn.Conv2d(8, 16, **{"kernel_size": 3, **settings}), 4 * torch.randn(2, 8, 11, 9, generator=seeded(0))
    after = {"none": nn.Identity(), "relu": nn.ReLU(), "relu6": nn.ReLU6()}[activation]
    ours = chosen(Convolution(conv, conv.weight, conv.bias, activation))(x)
    torch.testing.assert_close(ours, after(conv(x)), atol=1e-5, rtol=0)


def test_query_attention_equals_multihead_attention() -> None:
    attention = nn.MultiheadAttention(32, 4, batch_first=True).eval()
    query, value = (torch.randn(2, 5, 32, generator=seeded(i)) for i in (0, 1))
    with torch.inference_mode():
        ours, theirs = (
            form(query, query, value, need_weights=False)[0] for form in (chosen(QueryAttention(attention)), attention)
        )
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def test_fast_pose_layers_of_the_persons_frame_answer_as_the_trained_ones() -> None:
    config = PersonFrameConfig(17, width=32, ffn_width=32, num_heads=4, num_points=2, pose_layers=3)
    network = PersonFrameNetwork(config).eval()
    shapes = zip(KEPT_SIZES, MAP_CHANNELS, strict=True)
    maps = network.see([torch.randn(2, size, size, channels, generator=seeded(size)) for size, channels in shapes])
    boxes = torch.tensor([[0.5, 0.5, 0.6, 0.9]]).repeat(2, 1)
    keypoints, free = torch.rand(2, 17, 2, generator=seeded(5)), (torch.rand(2, 17, generator=seeded(6)) < 0.7).float()
    fast = prepare_loop(network, read=(0, -1), keep=MapAttention)
    with torch.inference_mode():
        ours, theirs = (one.play(boxes, keypoints, maps, free) for one in (fast, network))
    for name in ("keypoints", "given", "answered"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), atol=1e-5, rtol=1e-4)
