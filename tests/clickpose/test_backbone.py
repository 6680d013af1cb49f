"""Backbones: three strides, frozen parts, and ImageNet weights with or without batch norm folded in."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from clickpose.errors import InvalidModel
from clickpose.first_guess.networks import make_looker, movenet_backbone
from clickpose.model.backbone import CHANNELS, Backbone, PadAtEnd, load_backbone, load_imagenet
from tests.clickpose.builders import build_images


@pytest.mark.parametrize("name", CHANNELS)
def test_features_have_strides_of_8_16_and_32(name: str) -> None:
    features = Backbone(name)(build_images(1, (64, 96)))
    assert [f.shape[1:] for f in features] == [
        (channels, 64 // stride, 96 // stride) for channels, stride in zip(CHANNELS[name], (8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("name", CHANNELS)
def test_training_leaves_the_stem_and_every_norm_as_they_are(name: str) -> None:
    backbone = Backbone(name).train()
    before = {key: buffer.clone() for key, buffer in backbone.named_buffers()}
    sum(f.sum() for f in backbone(build_images(1, (64, 64)))).backward()
    trained = {key for key, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert trained and not any(key.startswith(("body.conv1", "body.layer1", "body.0.", "body.1.")) for key in trained)
    assert before and all(torch.equal(buffer, before[key]) for key, buffer in backbone.named_buffers())


def random_backbone() -> Backbone:
    """One whose norms do something."""
    torch.manual_seed(1)
    backbone = Backbone("mobilenet_v2")
    for norm in (m for m in backbone.modules() if isinstance(m, FrozenBatchNorm2d)):
        norm.weight.copy_(0.5 + torch.rand_like(norm.weight))
        norm.bias.copy_(0.1 * torch.randn_like(norm.bias))
        norm.running_mean.copy_(0.1 * torch.randn_like(norm.running_mean))
        norm.running_var.copy_(0.5 + torch.rand_like(norm.running_var))
    return backbone


def fold(backbone: Backbone) -> dict[str, torch.Tensor]:
    """Weights of the same network without norms: each is folded into the convolution before it."""
    folded, convolution = {}, ("", None)
    for name, module in backbone.body.named_modules():
        if isinstance(module, nn.Conv2d):
            convolution = (name, module)
        elif isinstance(module, FrozenBatchNorm2d):
            scale = module.weight * (module.running_var + module.eps).rsqrt()
            folded[f"{convolution[0]}.weight"] = (convolution[1].weight * scale[:, None, None, None]).detach()
            folded[f"{convolution[0]}.bias"] = module.bias - module.running_mean * scale
    return folded


@pytest.mark.parametrize("folded", [False, True])
def test_weights_from_a_file_give_the_same_features(tmp_path, folded: bool) -> None:
    source, target = random_backbone(), Backbone("mobilenet_v2")
    weights = fold(source) if folded else source.body.state_dict()
    save_file({f"features.{key}": value.contiguous() for key, value in weights.items()}, tmp_path / "imagenet")
    load_imagenet(target, "mobilenet_v2", tmp_path / "imagenet")
    for expected, loaded in zip(source(build_images()), target(build_images()), strict=True):
        torch.testing.assert_close(loaded, expected, atol=1e-4, rtol=1e-4)


def test_a_file_that_lacks_weights_is_refused(tmp_path) -> None:
    weights = {
        key: w.contiguous() for key, w in random_backbone().body.state_dict().items() if "17.conv.0.0" not in key
    }
    save_file(weights, tmp_path / "part")
    with pytest.raises(InvalidModel, match=r"part: backbone weights lack 17.conv.0.0.weight \(1 in all\)"):
        load_imagenet(Backbone("mobilenet_v2"), "mobilenet_v2", tmp_path / "part")


def test_padding_at_the_end_is_tensorflows_for_even_and_odd_sides() -> None:
    ramp = torch.arange(7.0).repeat(6, 1)[None, None]  # 6 rows, 7 columns
    padded = PadAtEnd()(ramp)[0, 0]
    assert padded.shape == (7, 9)  # (ceil(side / 2) - 1) * 2 + 3 - side more
    assert padded[0].tolist() == [0, *range(7), 0] and padded[-1].eq(0).all()


def test_lightnings_backbone_gives_its_own_features_under_torchvisions_names() -> None:
    lightning = make_looker("lightning", torch.device("cpu"), torch.float32).network.backbone
    backbone = Backbone("mobilenet_v2", "end")
    load_backbone(backbone, movenet_backbone(), "MoveNet Lightning")
    images = 2 * torch.rand(1, 3, 64, 96) - 1
    with torch.no_grad():
        finest, _, _ = backbone(images)
        torch.testing.assert_close(finest, lightning(images)[1], atol=1e-4, rtol=1e-4)


def test_where_the_backbone_pads_changes_no_weight_and_no_shape() -> None:
    backbones = [Backbone("mobilenet_v2", padding) for padding in ("both", "end")]
    assert backbones[0].state_dict().keys() == backbones[1].state_dict().keys()
    images = build_images(1, (63, 97))
    shapes = [[feature.shape for feature in backbone(images)] for backbone in backbones]
    assert shapes[0] == shapes[1]
