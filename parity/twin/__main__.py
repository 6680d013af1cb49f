"""Write the cases that ship: ``python -m parity.twin [DIR]``; it takes minutes."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from parity.draws import draw_image, draw_persons
from parity.twin.arithmetic import Array, sigmoid
from parity.twin.criterion import Target, losses, match
from parity.twin.decoder import CLASSES, PERSONS, QUERIES, Persons, find_persons
from parity.twin.encoder import Encoded, encode
from parity.twin.loop import best_persons, play

CASES = Path(__file__).parents[1] / "cases"
SIZES_HW = [(240, 256), (224, 240)]
META: dict[str, Any] = {
    "K": 17,
    "image_seeds": [71, 72],
    "sizes": SIZES_HW,
    "orig_sizes": [(480, 512), (448, 480)],
    "target_seeds": [701, 702],
    "num_people": [3, 2],
}
STRIDES = (64, 8, 8)
ROUNDS = {"official": 2, "holdcurrent": 2, "holdall": 3, "onlycorrection": 1}


def main(folder: Path) -> None:
    height, width = np.max(SIZES_HW, axis=0)
    encoded = []
    for seed, (h, w) in zip(META["image_seeds"], SIZES_HW, strict=True):
        image, padding = np.zeros((3, height, width)), np.ones((height, width), bool)
        image[:, :h, :w], padding[:h, :w] = draw_image(seed, h, w), False
        encoded.append(encode(image, padding))
    found = [find_persons(one.memory, META["K"]) for one in encoded]
    targets = [draw_persons(*drawn, META["K"]) for drawn in zip(META["target_seeds"], META["num_people"], strict=True)]
    persons = {f"target_{name}_{i}": array for i, target in enumerate(targets) for name, array in target.items()}
    folder.mkdir(exist_ok=True)
    save(folder / "first_pass.npz", first_pass(encoded, found))
    save(folder / "criterion.npz", persons | criterion(found, targets))
    save(folder / "feedback.npz", persons | feedback(encoded, found, targets))


def save(path: Path, arrays: dict[str, Any]) -> None:
    small = {
        name: np.float32(array) if np.asarray(array).dtype == np.float64 else array for name, array in arrays.items()
    }
    np.savez_compressed(path, meta=json.dumps(META), **small)
    print(f"{path}: {len(arrays)} arrays, {path.stat().st_size / 1000:.0f} kB")


def first_pass(encoded: list[Encoded], found: list[Persons]) -> dict[str, Array]:
    """Every stage of inference; of tokens and queries only some, by their index."""
    num_tokens, group = len(encoded[0].memory.content), META["K"] + 1
    token = np.arange(0, num_tokens, 160)
    query = np.arange(0, QUERIES, 100)
    grouped = np.concatenate([np.arange(person * group, (person + 1) * group) for person in (0, PERSONS - 1)])
    shapes = np.array(encoded[0].memory.shapes)
    arrays = {"token_index": token, "query_index": query, "group_query_index": grouped, "spatial_shapes": shapes}
    arrays["level_start"] = np.concatenate([[0], shapes.prod(1).cumsum()[:-1]])
    for level, name in enumerate(("C3", "C4", "C5")):
        arrays[f"backbone_{name}_strides"] = np.array(STRIDES)
        sampled = [one.features[level][:: STRIDES[0], :: STRIDES[1], :: STRIDES[2]] for one in encoded]
        arrays[f"backbone_{name}"] = np.stack(sampled)
    stacked = {
        "masks_flat": [one.memory.padding for one in encoded],
        "valid_ratios": [one.memory.valid_wh for one in encoded],
        "src_flat": [one.projected[token] for one in encoded],
        "pos_plus_level": [one.positions[token] for one in encoded],
        "enc_layer0": [one.first_layer[token] for one in encoded],
        "memory": [one.memory.content[token] for one in encoded],
        "memory_mean_per_channel": [one.memory.content.mean(0) for one in encoded],
    }
    stored = {"enc_output": token, "enc_box_delta": token, "qpos0": query, "raw0": query, "raw1": query}
    stored |= {f"{name}{i}": grouped for name in ("qpos", "raw") for i in range(2, 6)}
    for name in found[0].recorded:
        rows = stored.get(name, slice(None))
        stacked[recorded_name(name)] = [one.recorded[name][rows] for one in found]
    stacked |= {"pred_logits": [one.logits for one in found], "pred_boxes": [one.boxes for one in found]}
    stacked["pred_keypoints"] = [with_visibility(one.keypoints) for one in found]
    arrays |= {name: np.stack(values) for name, values in stacked.items() if not name.startswith("dec_qpos_layer1")}
    return arrays | pixels(found)


def recorded_name(name: str) -> str:
    if name.startswith("raw"):
        return f"dec_layer{name.removeprefix('raw')}_raw"
    return name.replace("qpos", "dec_qpos_layer")


def with_visibility(keypoints: Array) -> Array:
    """All places of a person, then the constant visibility of each: ``(P, 3 * K)``."""
    flat = keypoints.reshape(len(keypoints), -1)
    return np.concatenate([flat, np.full(keypoints.shape[:2], sigmoid(np.array(1.0)))], 1)


def pixels(found: list[Persons], count: int = 20) -> dict[str, Array]:
    """The best pairs of person and class, in pixels of the original image."""
    scores, labels, boxes, keypoints = [], [], [], []
    for one, (height, width) in zip(found, META["orig_sizes"], strict=True):
        score, wh = sigmoid(one.logits).ravel(), np.array([width, height])
        best = np.argsort(-score, kind="stable")[:count]
        person = best // CLASSES
        box, visible = one.boxes[person], np.full((count, META["K"], 1), sigmoid(np.array(1.0)))
        scores.append(score[best])
        labels.append(best % CLASSES)
        boxes.append(np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, :2] + box[:, 2:] / 2], 1) * np.tile(wh, 2))
        keypoints.append(np.concatenate([one.keypoints[person] * wh, visible], 2).reshape(count, -1))
    columns = {"scores": scores, "labels": labels, "boxes": boxes, "keypoints": keypoints}
    return {f"post{count}_{name}": np.stack(values) for name, values in columns.items()}


def criterion(found: list[Persons], targets: list[Target]) -> dict[str, Any]:
    arrays: dict[str, Any] = losses(list(zip(found, targets, strict=True)))
    for i, (one, target) in enumerate(zip(found, targets, strict=True)):
        for name, by_boxes in (("match", False), ("match_boxmode", True)):
            slots, persons = zip(*match(one, target, by_boxes=by_boxes), strict=True)
            arrays |= {f"{name}_src_{i}": np.array(slots), f"{name}_tgt_{i}": np.array(persons)}
    return arrays


def feedback(encoded: list[Encoded], found: list[Persons], targets: list[Target]) -> dict[str, Array]:
    arrays = {"top20_index": np.stack([best_persons(one)[0] for one in found])}
    for kind, num_rounds in ROUNDS.items():
        played = [
            play(one, target, image.memory, kind, num_rounds, number)
            for number, (one, target, image) in enumerate(zip(found, targets, encoded, strict=True))
        ]
        for name in {name for recorded in played for name in recorded}:
            values = [recorded[name] for recorded in played if name in recorded]
            joined = (
                np.concatenate(values)
                if name.endswith("clicks")
                else np.stack(values)
                if len(values) > 1
                else values[0]
            )
            arrays[f"{kind}_n{num_rounds}/{name}"] = joined
    return arrays


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CASES)
