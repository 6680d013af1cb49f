"""The published measures in clicks: raw detections after each round, AP at n clicks, and the number of clicks.

Where two keypoints of a person are equally wrong to the last digits, either may be clicked: from then on that
person's keypoints are not compared, everything else is.
"""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation, Pose
from clickpose.evaluation.coco_metrics import image_ap, keypoint_ap
from clickpose.evaluation.noc import rounds_needed
from clickpose.inference import prepare
from clickpose.model import ClickPose
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.model.proposals import PERSON_CLASS
from clickpose.training.feedback import Clicker, FeedbackConfig, run_feedback
from clickpose.training.matcher import match
from clickpose.training.targets import make_target
from parity.draws import draw_image
from parity.fixture import COORDINATE, EXACT, PRECISION, Fixture, difference
from parity.inference import SHOWN_VISIBILITY, best_pairs
from parity.loop import best_persons, clicks_made
from parity.recipe import recipe_model, skeleton_of
from parity.watch import WatchedLoop

STEADINESS = 0.002  # clicks persist, as the pose heads hardly move anything
NUM_PERSONS = 20
TOSS_UP = 5e-6  # difference of two L1 errors, in [0, 1], that implementations may judge either way

Detections = dict[str, np.ndarray]


def check_clicks(fixture: Fixture) -> None:
    """Play the published loop on every image and compare what the protocols count."""
    records = json.loads(str(fixture["annotations_json"]))
    sizes_hw = np.array([(image["height"], image["width"]) for image in records["images"]])
    fixture.note("orig_hw", difference(np.broadcast_to(fixture["orig_hw"], sizes_hw.shape), sizes_hw), EXACT)
    num_keypoints = len(records["annotations"][0]["keypoints"]) // 3
    played = PlayedRounds(
        fixture, read_annotations(records, num_keypoints), steady_model(num_keypoints, fixture.prepared)
    )
    for name in [name for name in fixture.arrays if name.endswith("_stats_f64")]:
        hold, count = re.fullmatch(r"ap_(\w+)_C(\d+)_stats_f64", name).groups()  # type: ignore[union-attr]
        played.check_ap(hold, int(count))
    for name in [name for name in fixture.arrays if name.endswith("_click_num")]:
        hold, percent = re.fullmatch(r"noc_(\w+)_(\d+)_click_num", name).groups()  # type: ignore[union-attr]
        played.check_number_of_clicks(hold, int(percent))


def steady_model(num_keypoints: int, prepared: bool) -> ClickPose:
    model = copy.deepcopy(recipe_model(num_keypoints))
    for head in model.decoder.pose_heads:
        head.layers[2].weight.data *= STEADINESS
        head.layers[2].bias.data *= STEADINESS
    return prepare(model) if prepared else model


def read_annotations(records: dict[str, Any], num_keypoints: int) -> AnnotationSet:
    images = []
    for image in records["images"]:
        persons = tuple(read_person(a) for a in records["annotations"] if a["image_id"] == image["id"])
        images.append(AnnotatedImage(image["id"], image["file_name"], (image["width"], image["height"]), persons))
    return AnnotationSet(skeleton_of(num_keypoints), tuple(images))


def read_person(record: dict[str, Any]) -> PersonAnnotation:
    triples, (x, y, width, height) = np.array(record["keypoints"]).reshape(-1, 3), record["bbox"]
    return PersonAnnotation(
        record["id"],
        triples[:, :2].astype(np.float32),
        triples[:, 2].astype(np.int64),
        np.array([x, y, x + width, y + height], np.float32),
        record["area"],
        is_crowd=bool(record["iscrowd"]),
    )


@dataclass(frozen=True)
class PlayedImage:
    """The 20 best persons of an image before the first round and after each one, and who was a toss-up by then."""

    persons: list[LayerOutput]
    toss_ups: list[set[int]]


class PlayedRounds:
    """Every round on every image, once for each way to hold clicks."""

    def __init__(self, fixture: Fixture, annotations: AnnotationSet, model: ClickPose) -> None:
        self.fixture, self.annotations, self.model = fixture, annotations, model
        self.image, self.first_pass = cache(self._play), cache(self._first_pass)

    @cached_property
    def sizes_hw(self) -> np.ndarray:
        """Height and width of each image as the network sees it."""
        return np.broadcast_to(self.fixture["image_hw"], (len(self.annotations), 2))

    @cached_property
    def num_rounds(self) -> int:
        """The most rounds that anything recorded was taken after."""
        counts = [int(name.removesuffix("_stats_f64").rpartition("_C")[2]) for name in self._recorded("_stats_f64")]
        return max(counts + [int(self.fixture[name].max()) for name in self._recorded("_click_num")])

    def _recorded(self, ending: str) -> list[str]:
        return [name for name in self.fixture.arrays if name.endswith(ending)]

    def _first_pass(self, index: int) -> tuple[LayerOutput, LayerValues]:
        """Poses of an image before any click, and what the loop needs to know of it."""
        height, width = (int(side) for side in self.sizes_hw[index])
        memory = self.model.encode(
            torch.from_numpy(draw_image(int(self.fixture["image_seeds"][index]), height, width))[None]
        )
        values = self.model.decoder.pose_values(memory)
        return self.model.estimate_poses(self.model.find_persons(memory), values), values

    @torch.inference_mode()
    def _play(self, hold: str, index: int) -> PlayedImage:
        model, image, (first, values) = self.model, self.annotations.images[index], self.first_pass(index)
        targets = [make_target(image.persons, image.size_wh, model.config.num_keypoints)]
        sigmas = torch.from_numpy(self.annotations.skeleton.sigma_array)
        loop, clicks = WatchedLoop(model), [1] * self.num_rounds
        run_feedback(loop, first, values, targets, Clicker(sigmas, FeedbackConfig(hold=hold)), clicks)  # type: ignore[arg-type]

        persons = [best_persons(first, NUM_PERSONS), *(played.layers[-1] for played in loop.rounds)]
        matched, toss_ups = match(persons[0], targets, sigmas), [set[int]()]
        for before in persons[:-1]:
            tied = clicks_made(before, matched, targets)[:, 5] < TOSS_UP
            toss_ups.append(toss_ups[-1] | set(matched.slot[tied].tolist()))
        return PlayedImage(persons, toss_ups)

    def detections(self, hold: str, index: int, count: int) -> Detections:
        """What the published evaluation is given after ``count`` rounds: pairs of person and class, best first."""
        played, image = self.image(hold, index), self.annotations.images[index]
        pairs = best_pairs(played.persons[count], 0, image.size_wh, NUM_PERSONS)
        shown = torch.full_like(pairs.keypoints_px[..., :1], SHOWN_VISIBILITY)
        return {
            "keypoints": torch.cat((pairs.keypoints_px, shown), -1).flatten(1).numpy(),
            "scores": pairs.scores.numpy(),
            "category": pairs.labels.numpy(),
            "image": np.full(NUM_PERSONS, image.id),
            "sure": np.array([person not in played.toss_ups[count] for person in pairs.persons.tolist()]),
        }

    def poses(self, hold: str, index: int, count: int) -> list[Pose]:
        found = self.detections(hold, index, count)
        persons = found["category"] == PERSON_CLASS
        return [make_pose(*pair) for pair in zip(found["keypoints"][persons], found["scores"][persons], strict=True)]

    def check_ap(self, hold: str, count: int) -> None:
        """Compare raw detections and COCO's ten numbers after ``count`` rounds."""
        name, images = f"ap_{hold}_C{count}", range(len(self.annotations))
        found = [self.detections(hold, index, count) for index in images]
        merged = {key: np.concatenate([d[key] for d in found]) for key in found[0]}
        in_pixels = COORDINATE * max(max(image.size_wh) for image in self.annotations.images)
        for key, tolerance in (("scores", COORDINATE), ("category", EXACT), ("image", EXACT)):
            self.fixture.compare(f"{name}_{key}", merged[key], tolerance)
        sure, recorded = merged["sure"], self.fixture[f"{name}_keypoints"]
        what = f"{name}_keypoints ({sure.sum()} of {sure.size} persons)"
        self.fixture.note(what, difference(merged["keypoints"][sure], recorded[sure]), in_pixels)
        poses = {self.annotations.images[index].id: self.poses(hold, index, count) for index in images}
        numbers = list(keypoint_ap(self.annotations, poses).values())
        self.fixture.compare(f"{name}_stats_f64", numbers, PRECISION)

    def check_number_of_clicks(self, hold: str, percent: int) -> None:
        """Compare each image's AP before each round, and how many rounds it needs."""
        name, threshold, counts = f"noc_{hold}_{percent}", percent / 100, []
        for index, image in enumerate(self.annotations.images):
            recorded = f"{name}_img{index + 1}_ap_sequence_f64"
            if recorded in self.fixture:
                rounds = range(len(self.fixture[recorded]))
                skeleton = self.annotations.skeleton
                sequence = [image_ap(image, skeleton, self.poses(hold, index, count)) for count in rounds]
                self.fixture.compare(recorded, sequence, PRECISION)
            needed = rounds_needed(image, self.annotations.skeleton, self._every_round(hold, index), [threshold])
            counts.append(needed[threshold])
        self.fixture.compare(f"{name}_click_num", counts)
        self.fixture.compare(f"{name}_mean_f64", np.mean(counts), PRECISION)

    def _every_round(self, hold: str, index: int) -> Iterator[list[Pose]]:
        return (self.poses(hold, index, count) for count in range(len(self.image(hold, index).persons)))


def make_pose(triples: np.ndarray, score: float) -> Pose:
    keypoints_px = triples.reshape(-1, 3)[:, :2]
    count = len(keypoints_px)
    return Pose(
        keypoints_px=keypoints_px,
        visibility=np.full(count, 2),
        scores=np.full(count, score, np.float32),
        box_px=np.zeros(4, np.float32),
        score=float(score),
        held=np.zeros(count, bool),
    )
