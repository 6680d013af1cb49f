"""Names of weights in published checkpoints, and ours."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from clickpose.errors import InvalidModel

RENAMES = (
    (r"^backbone\.0\.body\.", "backbone.body."),
    (r"^input_proj\.", "projection.projections."),
    (r"^transformer\.level_embed$", "encoder.level_embed"),
    (r"^transformer\.encoder\.layers\.(\d+)\.self_attn\.", r"encoder.layers.\1.attention."),
    (r"^transformer\.encoder\.layers\.(\d+)\.norm1\.", r"encoder.layers.\1.norm."),
    (r"^transformer\.encoder\.layers\.(\d+)\.linear", r"encoder.layers.\1.feed_forward.linear"),
    (r"^transformer\.encoder\.layers\.(\d+)\.norm2\.", r"encoder.layers.\1.feed_forward.norm."),
    (r"^transformer\.enc_output\.", "proposal_head.output."),
    (r"^transformer\.enc_output_norm\.", "proposal_head.norm."),
    (r"^transformer\.enc_out_class_embed\.", "proposal_head.class_head."),
    (r"^transformer\.enc_out_bbox_embed\.", "proposal_head.box_head."),
    (r"^transformer\.decoder\.layers\.(\d+)\.self_attn\.", r"decoder.layers.\1.self_attention."),
    (r"^transformer\.decoder\.layers\.(\d+)\.norm2\.", r"decoder.layers.\1.self_attention_norm."),
    (r"^transformer\.decoder\.layers\.(\d+)\.cross_attn\.", r"decoder.layers.\1.cross_attention."),
    (r"^transformer\.decoder\.layers\.(\d+)\.norm1\.", r"decoder.layers.\1.cross_attention_norm."),
    (r"^transformer\.decoder\.layers\.(\d+)\.linear", r"decoder.layers.\1.feed_forward.linear"),
    (r"^transformer\.decoder\.layers\.(\d+)\.norm3\.", r"decoder.layers.\1.feed_forward.norm."),
    (r"^transformer\.decoder\.norm\.", "decoder.norm."),
    (r"^transformer\.decoder\.ref_point_head\.", "decoder.reference_head."),
    (r"^transformer\.decoder\.class_embed\.", "decoder.class_heads."),
    (r"^transformer\.decoder\.bbox_embed\.", "decoder.box_heads."),
    (r"^transformer\.decoder\.pose_embed\.4\.", "decoder.initial_pose_head."),
    (r"^transformer\.decoder\.pose_embed\.", "decoder.pose_heads."),
    (r"^transformer\.decoder\.pose_hw_embed\.0\.", "decoder.keypoint_size_head."),
    (r"^transformer\.decoder\.keypoint_embed\.", "decoder.keypoint_content."),
    (r"^transformer\.decoder\.hw\.", "decoder.keypoint_size."),
    (r"^label_enc\.", "person_label."),
    (r"^label_enc_pose\.", "keypoint_label."),
)
ALIASES = re.compile(r"^((bbox|class|pose|pose_hw)_embed\.|transformer\.decoder\.pose_hw_embed\.[1-9])")


def our_name(published_name: str) -> str | None:
    """Translate the name of a published weight; None for an alias of another.

    Raises:
        InvalidModel: the name belongs to no weight of the published model.
    """
    if ALIASES.match(published_name):
        return None
    for pattern, ours in RENAMES:
        renamed, count = re.subn(pattern, ours, published_name)
        if count:
            return renamed
    raise InvalidModel(f"published checkpoints have no weight {published_name!r}")


def from_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a published checkpoint to ours, dropping aliases."""
    named = {our_name(name): weight for name, weight in weights.items() if not name.endswith("num_batches_tracked")}
    return {name: weight for name, weight in named.items() if name is not None}
