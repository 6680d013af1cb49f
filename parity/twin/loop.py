"""The feedback loop: click the worst keypoint of each matched person, and run the pose layers again."""

import numpy as np

from parity.twin.arithmetic import Array, inverse_sigmoid, sigmoid, weight
from parity.twin.attention import DIM, Maps
from parity.twin.criterion import Target, match, split
from parity.twin.decoder import Persons, decode_poses, keypoint_sizes

KEPT, STORED_PERSONS = 20, 4
HOLDS = {"official": "none", "holdcurrent": "current", "holdall": "all", "onlycorrection": "none"}


def best_persons(found: Persons) -> tuple[Array, Persons]:
    best = np.argsort(-found.logits.max(1), kind="stable")[:KEPT]
    return best, Persons({}, found.logits[best], found.boxes[best], found.keypoints[best])


def play(
    found: Persons, target: Target, memory: Maps, kind: str, num_rounds: int, image: int
) -> dict[str, list[Array]]:
    """Play rounds on an image; return what is recorded of it, without the variant's name."""
    _, persons = best_persons(found)
    first, pairs = persons, match(persons, target)
    xy, labelled = split(target)
    num_keypoints, held, recorded = xy.shape[1], np.zeros(persons.keypoints.shape[:2], bool), {}
    slots, truths = (np.array(side) for side in zip(*pairs, strict=True))
    recorded |= {f"slot_{image}": slots, f"gt_{image}": truths}
    for number in range(num_rounds):
        keypoints, boxes, clicks = persons.keypoints.copy(), persons.boxes.copy(), []
        held = held & (HOLDS[kind] == "all")
        for slot, person in pairs:
            errors = np.abs(keypoints[slot] - xy[person]).sum(1) * labelled[person]
            worst, second = np.argsort(-errors, kind="stable")[:2]
            clicks.append([image, slot, worst, *xy[person, worst], errors[worst] - errors[second]])
            keypoints[slot, worst] = xy[person, worst]
            held[slot, worst] = HOLDS[kind] != "none"
            boxes[slot] = extended(boxes[slot], keypoints[slot])
        persons = Persons()
        decode_poses(persons, *queries(boxes, keypoints), memory, num_keypoints, ~held)
        name = f"it{number}_"
        recorded |= {name + "clicks": np.array(clicks), name + "in_kpt": keypoints, name + "delta_mask": ~held}
        recorded |= {name + "in_box_unsigmoid": inverse_sigmoid(boxes), name + "out_logits": persons.logits}
        recorded |= {name + "out_boxes": persons.boxes, name + "out_kpt": persons.keypoints.reshape(KEPT, -1)}
        stored = STORED_PERSONS * (num_keypoints + 1)
        recorded |= {f"{name}ref{i}": persons.recorded[f"ref{i + 2}"][:stored] for i in range(5)}
    if kind == "onlycorrection":
        persons = Persons({}, first.logits, boxes, keypoints)
    shown = np.full((KEPT, num_keypoints), 1.0 if kind == "onlycorrection" else sigmoid(np.array(1.0)))
    recorded |= {"pred_logits": persons.logits, "pred_boxes": persons.boxes}
    return recorded | {"pred_keypoints": np.concatenate([persons.keypoints.reshape(KEPT, -1), shown], 1)}


def extended(box: Array, keypoints: Array) -> Array:
    """Extend a box so that it has all keypoints in it."""
    low = np.minimum(box[:2] - box[2:] / 2, keypoints.min(0))
    high = np.maximum(box[:2] + box[2:] / 2, keypoints.max(0))
    return np.concatenate([(low + high) / 2, high - low])


def queries(boxes: Array, keypoints: Array) -> tuple[Array, Array]:
    """Tokens and references of persons whose boxes and keypoints are given."""
    num_keypoints = keypoints.shape[1]
    person = weight("label_enc.weight", 101, DIM)[1:2]
    points = weight("label_enc_pose.weight", num_keypoints + 1, DIM)[1:]
    tokens, references = [], []
    for box, xy in zip(boxes, keypoints, strict=True):
        tokens += [person, points]
        sized = np.concatenate([xy, keypoint_sizes(box, num_keypoints)], 1)
        references += [sigmoid(inverse_sigmoid(box))[None], sized]
    return np.concatenate(tokens), np.concatenate(references)
