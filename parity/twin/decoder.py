"""From a memory to persons: proposals, two layers of persons, and four of persons with their keypoints."""

from dataclasses import dataclass, field

import numpy as np

from parity.twin.arithmetic import (
    Array,
    inverse_sigmoid,
    layer_norm,
    linear,
    perceptron,
    sigmoid,
    sine_encoding,
    weight,
)
from parity.twin.attention import DIM, Maps, deformable_attention, self_attention
from parity.twin.encoder import centres

QUERIES, PERSONS, PERSON_LAYERS, LAYERS, CLASSES = 900, 50, 2, 6, 2
DECODER = "transformer.decoder"


@dataclass
class Persons:
    """What a run of the decoder gave, by name as it is recorded, and its answer."""

    recorded: dict[str, Array] = field(default_factory=dict)
    logits: Array = field(default_factory=lambda: np.zeros(0))
    boxes: Array = field(default_factory=lambda: np.zeros(0))
    keypoints: Array = field(default_factory=lambda: np.zeros(0))


def find_persons(memory: Maps, num_keypoints: int) -> Persons:
    """Run proposals, person layers and pose layers."""
    found = Persons()
    content, boxes = propose(memory, found.recorded)
    for i in range(PERSON_LAYERS):
        found.recorded[f"ref{i}"] = boxes
        content, found.recorded[f"qpos{i}"] = decoder_layer(content, boxes, memory, i, group=len(content))
        found.recorded[f"raw{i}"] = content
        boxes = moved(boxes, content, f"{DECODER}.bbox_embed.{i}")
    logits = linear(content, f"{DECODER}.class_embed.1", CLASSES)
    chosen = np.argsort(-logits.max(1), kind="stable")[:PERSONS]
    found.recorded |= {"human_select_logits": logits, "human_select_index": chosen}
    tokens, references = with_keypoints(content[chosen], boxes[chosen], num_keypoints)
    decode_poses(found, tokens, references, memory, num_keypoints)
    return found


def propose(memory: Maps, recorded: dict[str, Array]) -> tuple[Array, Array]:
    """Choose 900 tokens by their logits; return their contents and boxes."""
    levels = zip(memory.shapes, memory.valid_wh, strict=True)
    cells = [
        (centres(shape, wh), np.full((shape[0] * shape[1], 2), 0.05 * 2**i)) for i, (shape, wh) in enumerate(levels)
    ]
    anchors = np.concatenate([np.concatenate(cell, 1) for cell in cells])
    valid = ((anchors > 0.01) & (anchors < 0.99)).all(1) & ~memory.padding
    with np.errstate(divide="ignore", invalid="ignore"):
        anchor_logits = np.where(valid[:, None], np.log(anchors / (1 - anchors)), np.inf)
    name = "transformer.enc_out"
    content = layer_norm(linear(memory.content * valid[:, None], f"{name}put", DIM), f"{name}put_norm")
    logits, delta = (
        linear(content, f"{name}_class_embed", CLASSES),
        perceptron(content, f"{name}_bbox_embed", DIM, DIM, 4),
    )
    best = np.argsort(-logits.max(1), kind="stable")[:QUERIES]
    boxes = sigmoid(anchor_logits + delta)[best]
    recorded |= {"enc_output": content, "enc_class_logits": logits, "enc_box_delta": delta, "topk_index": best}
    recorded |= {"topk_ref_sigmoid": boxes, "topk_init_proposal_sigmoid": sigmoid(anchor_logits)[best]}
    return content[best], boxes


def with_keypoints(content: Array, boxes: Array, num_keypoints: int) -> tuple[Array, Array]:
    """Give each person a token for each keypoint: tokens ``(P * G, 256)`` and references ``(P * G, 4)``."""
    embedded = weight(f"{DECODER}.keypoint_embed.weight", PERSONS * num_keypoints, DIM)
    tokens, references = [], []
    for person, (token, box) in enumerate(zip(content, boxes, strict=True)):
        keypoints = embedded[person * num_keypoints : (person + 1) * num_keypoints]
        xy = sigmoid(inverse_sigmoid(box[:2]) + perceptron(keypoints, f"{DECODER}.pose_embed.4", DIM, DIM, 2))
        tokens += [token[None], keypoints]
        references += [box[None], np.concatenate([xy, keypoint_sizes(box, num_keypoints)], 1)]
    return np.concatenate(tokens), np.concatenate(references)


def keypoint_sizes(box: Array, num_keypoints: int) -> Array:
    return sigmoid(weight(f"{DECODER}.hw.weight", num_keypoints, 2)) * box[2:]


def decode_poses(
    found: Persons, tokens: Array, references: Array, memory: Maps, num_keypoints: int, free: Array | None = None
) -> None:
    """Run the four pose layers; a keypoint that is not free stays where it is. ``free (P, K)``."""
    group = num_keypoints + 1
    freedom = (
        np.ones((len(tokens) // group, group)) if free is None else np.pad(free, ((0, 0), (1, 0)), constant_values=1)
    )
    freedom = freedom.reshape(-1, 1)
    is_person = np.arange(len(tokens)) % group == 0
    for i in range(PERSON_LAYERS, LAYERS):
        found.recorded[f"ref{i}"] = references
        tokens, found.recorded[f"qpos{i}"] = decoder_layer(tokens, references, memory, i, group)
        found.recorded[f"raw{i}"] = tokens
        shown = layer_norm(tokens, f"{DECODER}.norm")
        found.logits = linear(shown[is_person], f"{DECODER}.class_embed.{i}", CLASSES)
        found.boxes = moved(references[is_person], shown[is_person], f"{DECODER}.bbox_embed.{i}")
        pose = f"{DECODER}.pose_embed.{i - PERSON_LAYERS}"
        xy = moved(references[:, :2], shown, pose, freedom)
        found.keypoints = xy[~is_person].reshape(-1, num_keypoints, 2)
        box = moved(references, tokens, f"{DECODER}.bbox_embed.{i}")
        point = moved(references[:, :2], tokens, pose, freedom)
        size = moved(references[:, 2:], tokens, f"{DECODER}.pose_hw_embed.0")
        references = np.where(is_person[:, None], box, np.concatenate([point, size], 1))
    found.recorded[f"ref{LAYERS}"] = references


def decoder_layer(x: Array, references: Array, memory: Maps, i: int, group: int) -> tuple[Array, Array]:
    """Return new tokens and the encoding of their references; only tokens of one group see each other."""
    name, valid = f"{DECODER}.layers.{i}", np.tile(memory.valid_wh, 2)
    by_level = references[:, None] * valid
    cx, cy, w, h = by_level[:, 0].T * 2 * np.pi
    encoded = np.concatenate([sine_encoding(part, 10000) for part in (cy, cx, w, h)], 1)
    positions = perceptron(encoded, f"{DECODER}.ref_point_head", DIM, DIM)
    groups = [slice(first, first + group) for first in range(0, len(x), group)]
    attended = [self_attention(x[one], positions[one], f"{name}.self_attn") for one in groups]
    x = layer_norm(x + np.concatenate(attended), f"{name}.norm2")
    x = layer_norm(x + deformable_attention(x + positions, by_level, memory, f"{name}.cross_attn"), f"{name}.norm1")
    hidden = np.maximum(linear(x, f"{name}.linear1", 2048), 0)
    return layer_norm(x + linear(hidden, f"{name}.linear2", DIM), f"{name}.norm3"), positions


def moved(x: Array, by: Array, head: str, freedom: Array | float = 1.0) -> Array:
    """Move boxes, points or sizes by what a head says."""
    return sigmoid(inverse_sigmoid(x) + freedom * perceptron(by, head, DIM, DIM, x.shape[-1]))
