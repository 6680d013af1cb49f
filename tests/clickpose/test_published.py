"""Names of published weights are ours, there and back."""

import json
from pathlib import Path

import pytest
import torch

from clickpose.checkpoints.published_names import from_published, our_name, published_name
from clickpose.errors import InvalidModel
from clickpose.model import ClickPose, resnet50_coco

KEYS = Path(__file__).parents[2] / ".." / "shared" / "reference" / "checkpoint-keys.json"


@pytest.fixture(scope="module")
def ours() -> list[str]:
    return list(ClickPose(resnet50_coco()).state_dict())


def test_every_weight_has_a_published_name_of_its_own(ours: list[str]) -> None:
    published = [published_name(name) for name in ours]
    assert len(set(published)) == len(ours)
    assert [our_name(name) for name in published] == ours


@pytest.mark.skipif(not KEYS.is_file(), reason=f"the list of published weights is not at {KEYS}")
def test_names_and_shapes_are_those_of_a_published_checkpoint() -> None:
    rows = json.loads(KEYS.read_text())["state_dict"]
    weights = {row["key"]: torch.empty(row["shape"], device="meta") for row in rows}
    wanted = {name: weight.shape for name, weight in ClickPose(resnet50_coco()).state_dict().items()}
    assert {name: weight.shape for name, weight in from_published(weights).items()} == wanted
    assert {row["key"] for row in rows if our_name(row["key"]) is None} == {r["key"] for r in rows if r["alias_of"]}


@pytest.mark.parametrize(
    "published, ours",
    [
        ("backbone.0.body.layer3.5.bn2.running_var", "backbone.body.layer3.5.bn2.running_var"),
        ("input_proj.3.1.weight", "projection.projections.3.1.weight"),
        ("transformer.encoder.layers.4.norm1.bias", "encoder.layers.4.norm.bias"),
        ("transformer.encoder.layers.4.norm2.bias", "encoder.layers.4.feed_forward.norm.bias"),
        ("transformer.decoder.layers.2.norm1.weight", "decoder.layers.2.cross_attention_norm.weight"),
        ("transformer.decoder.layers.2.norm2.weight", "decoder.layers.2.self_attention_norm.weight"),
        ("transformer.decoder.layers.2.norm3.weight", "decoder.layers.2.feed_forward.norm.weight"),
        ("transformer.decoder.pose_embed.3.layers.2.bias", "decoder.pose_heads.3.layers.2.bias"),
        ("transformer.decoder.pose_embed.4.layers.2.bias", "decoder.initial_pose_head.layers.2.bias"),
        ("transformer.decoder.hw.weight", "decoder.keypoint_size.weight"),
        ("label_enc_pose.weight", "keypoint_label.weight"),
    ],
)
def test_names_mean_what_they_say(published: str, ours: str) -> None:
    assert our_name(published) == ours
    assert published_name(ours) == published


def test_what_is_no_weight_is_dropped_and_what_is_unknown_is_refused() -> None:
    weight = torch.ones(1)
    kept = from_published(
        {"label_enc.weight": weight, "bbox_embed.0.layers.0.weight": weight, "bn.num_batches_tracked": weight}
    )
    assert list(kept) == ["person_label.weight"]
    with pytest.raises(InvalidModel, match=r"no weight 'transformer.pose_net.weight'"):
        from_published({"transformer.pose_net.weight": weight})
    with pytest.raises(InvalidModel, match=r"no weight 'decoder.layers.x.linear1'"):
        published_name("decoder.layers.x.linear1")
