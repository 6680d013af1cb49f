"""Names of weights in published checkpoints, and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from clickpose.errors import InvalidModel

# prefixes of names, published and ours; # is the number of a layer
RENAMES = (
    ("backbone.0.body.", "backbone.body."),
    ("input_proj.", "projection.projections."),
    ("transformer.level_embed", "encoder.level_embed"),
    ("transformer.encoder.layers.#.self_attn.", "encoder.layers.#.attention."),
    ("transformer.encoder.layers.#.norm1.", "encoder.layers.#.norm."),
    ("transformer.encoder.layers.#.linear", "encoder.layers.#.feed_forward.linear"),
    ("transformer.encoder.layers.#.norm2.", "encoder.layers.#.feed_forward.norm."),
    ("transformer.enc_output.", "proposal_head.output."),
    ("transformer.enc_output_norm.", "proposal_head.norm."),
    ("transformer.enc_out_class_embed.", "proposal_head.class_head."),
    ("transformer.enc_out_bbox_embed.", "proposal_head.box_head."),
    ("transformer.decoder.layers.#.self_attn.", "decoder.layers.#.self_attention."),
    ("transformer.decoder.layers.#.norm2.", "decoder.layers.#.self_attention_norm."),
    ("transformer.decoder.layers.#.cross_attn.", "decoder.layers.#.cross_attention."),
    ("transformer.decoder.layers.#.norm1.", "decoder.layers.#.cross_attention_norm."),
    ("transformer.decoder.layers.#.linear", "decoder.layers.#.feed_forward.linear"),
    ("transformer.decoder.layers.#.norm3.", "decoder.layers.#.feed_forward.norm."),
    ("transformer.decoder.norm.", "decoder.norm."),
    ("transformer.decoder.ref_point_head.", "decoder.reference_head."),
    ("transformer.decoder.class_embed.", "decoder.class_heads."),
    ("transformer.decoder.bbox_embed.", "decoder.box_heads."),
    ("transformer.decoder.pose_embed.4.", "decoder.initial_pose_head."),
    ("transformer.decoder.pose_embed.", "decoder.pose_heads."),
    ("transformer.decoder.pose_hw_embed.0.", "decoder.keypoint_size_head."),
    ("transformer.decoder.keypoint_embed.", "decoder.keypoint_content."),
    ("transformer.decoder.hw.", "decoder.keypoint_size."),
    ("label_enc.", "person_label."),
    ("label_enc_pose.", "keypoint_label."),
)
DECODER = "transformer.decoder."  # its heads appear twice, the second time without this prefix
HEADS = ("bbox_embed.", "class_embed.", "pose_embed.", "pose_hw_embed.")
SIZE_HEADS = re.compile(rf"^({re.escape(DECODER)}pose_hw_embed)\.\d+\.")  # one head, registered for each pose layer


def our_name(published_name: str) -> str | None:
    """Translate the name of a published weight; None for an alias of another.

    Raises:
        InvalidModel: the name belongs to no weight of the published model.
    """
    if twin_name(published_name) != published_name:
        return None
    for published, ours in RENAMES:
        if renamed := _replace_beginning(published_name, published, ours):
            return renamed
    raise InvalidModel(f"published checkpoints have no weight {published_name!r}")


def published_name(our_name: str) -> str:
    """Translate the name of one of our weights to that of a published checkpoint.

    Raises:
        InvalidModel: our networks have no such weight.
    """
    for published, ours in RENAMES:
        if renamed := _replace_beginning(our_name, ours, published):
            return renamed
    raise InvalidModel(f"our networks have no weight {our_name!r}")


def from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a published checkpoint to ours, dropping aliases."""
    named = {our_name(name): weight for name, weight in weights.items() if not name.endswith("num_batches_tracked")}
    return {name: weight for name, weight in named.items() if name is not None}


def twin_name(published_name: str) -> str:
    """Return the first name of a published weight; an alias has another name."""
    name = DECODER + published_name if published_name.startswith(HEADS) else published_name
    return SIZE_HEADS.sub(r"\1.0.", name)


def to_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename our weights to those of a published checkpoint, which contains some of them under several names.

    Raises:
        InvalidModel: our networks have no such weight.
    """
    named = {published_name(name): weight for name, weight in weights.items()}
    num_pose_layers = len({name.split(".")[2] for name in weights if name.startswith("decoder.pose_heads.")})
    for name in [name for name in named if SIZE_HEADS.match(name)]:
        for i in range(1, num_pose_layers):
            named[name.replace("pose_hw_embed.0.", f"pose_hw_embed.{i}.")] = named[name]
    heads = {name: name.removeprefix(DECODER) for name in named if name.startswith(DECODER)}
    return named | {alias: named[name] for name, alias in heads.items() if alias.startswith(HEADS)}


def _replace_beginning(name: str, old: str, new: str) -> str | None:
    matched = re.match(re.escape(old).replace(r"\#", r"(\d+)"), name)
    if matched is None:
        return None
    layer = matched[1] if matched.groups() else ""
    return new.replace("#", layer) + name[matched.end() :]
