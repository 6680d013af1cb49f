"""Sizes of a model: presets, JSON there and back, and refusals by name."""

import json

import pytest

from clickpose.errors import InvalidConfig
from clickpose.model import ClickPose, ModelConfig, mobilenet_v2_demo, resnet50_coco, tiny

PRESETS = (resnet50_coco, mobilenet_v2_demo, tiny)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("num_keypoints", [1, 17, 133])
def test_presets_survive_json(preset, num_keypoints: int) -> None:
    config = preset(num_keypoints)
    assert config.num_keypoints == num_keypoints
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_published_model_has_its_published_size() -> None:
    model = ClickPose(resnet50_coco())
    assert sum(p.numel() for p in model.parameters()) == 48_299_800
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 48_077_400
    assert sum(b.numel() for b in model.buffers()) == 106_240


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"backbone": "vgg16"}, "backbone 'vgg16' is not one of resnet50, resnet18, mobilenet_v2"),
        ({"backbone": "resnet50", "backbone_padding": "end"}, "backbone_padding of resnet50 is 'end', must be both"),
        ({"width": 40}, "width 40 must be a multiple"),
        ({"num_heads": 3}, "3 heads"),
        ({"num_heads": 0}, "num_heads is 0"),
        ({"width": 0}, "width is 0"),
        ({"num_levels": 5}, "num_levels is 5, must be 3 or 4"),
        ({"encoder_first_level": 3}, "encoder_first_level 3 is outside 0..2"),
        ({"num_persons": 13}, "num_refined <= num_persons <= num_queries"),
        ({"num_refined": 0}, "num_refined is 0"),
        ({"num_keypoints": 0}, "num_keypoints is 0, must be a whole number of at least 1"),
        ({"pose_layers": 0}, "pose_layers is 0"),
        ({"num_points": 0}, "num_points is 0"),
        ({"depth": 3, "hight": 4}, "unknown model settings: depth, hight"),
        ({"num_keypoints": "17"}, "num_keypoints is '17'"),
        ({"pixel_std": [0.5, 0.5]}, "pixel_std is .*, must be three numbers"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(changes: dict, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        ModelConfig.from_dict({**tiny().to_dict(), **changes})


def test_settings_that_no_longer_exist_do_not_stop_an_older_model_from_loading() -> None:
    assert ModelConfig.from_dict({**tiny().to_dict(), "reconsider": True, "min_confidence": 0.65}) == tiny()


def test_a_model_without_keypoints_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="num_keypoints"):
        ModelConfig.from_dict({})
