"""An answer names everybody on the annotator's screen, as they are after the edit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.answers import write_answer
from integrations.label_studio.interactions import read_interaction
from integrations.label_studio.regions import poses_to_result
from integrations.label_studio.schemas import PredictRequest
from integrations.label_studio.service import PoseAnswer

SIZE_WH = (640, 480)
COCO = Skeleton.load("coco17")
NOSE, WRIST = "nose", "left_wrist"

Items = list[dict[str, Any]]


@pytest.fixture
def shown(make_pose: Any) -> list[Pose]:
    return [make_pose(), make_pose((340, 48, 560, 432), seed=1)]


def screen(poses: list[Pose]) -> Items:
    return poses_to_result(poses, COCO, SIZE_WH)


def drawn(kind: str, **value: Any) -> dict[str, Any]:
    size = {"original_width": SIZE_WH[0], "original_height": SIZE_WH[1]}
    return {"id": "5wiJ5h1HMh", "type": kind, "is_positive": True, "value": value} | size


def click(keypoint: str, pose: Pose) -> dict[str, Any]:
    """A smart click ten pixels beside a keypoint."""
    x, y = 100 * (pose.keypoints_px[COCO.index(keypoint)] + 10) / SIZE_WH
    return drawn("keypointlabels", x=float(x), y=float(y), keypointlabels=[keypoint])


def following(pose: Pose, keypoint: str) -> Pose:
    """The pose after such a click: that keypoint is held there, those not held follow, each click's in its own way."""
    k = COCO.index(keypoint)
    keypoints_px = pose.keypoints_px + np.where(pose.held, 0, 2 + k)[:, None].astype(np.float32)
    held, visibility = pose.held.copy(), pose.visibility.copy()
    keypoints_px[k], held[k], visibility[k] = pose.keypoints_px[k] + 10, True, 2
    return replace(pose, keypoints_px=keypoints_px, held=held, visibility=visibility, box_px=pose.box_px + 2 + k)


def answered(trigger: Items | dict[str, Any], saved: Items, after: list[Pose], seen: Items | None = None) -> Items:
    """Return an answer's regions; the screen shows what was saved, and the context those of the trigger's label."""
    label = trigger["value"].get("keypointlabels")
    like = [item for item in saved if item["type"] == trigger["type"] and item["value"].get("keypointlabels") == label]
    task = {"id": 1, "data": {"image": "a.jpg"}, "drafts": [{"result": saved, "user": "ann@example.com"}]}
    body = {"tasks": [task], "params": {"context": {"result": [*(like if seen is None else seen), trigger]}}}
    interaction = read_interaction(PredictRequest.model_validate(body), COCO, "image")
    return write_answer(interaction, PoseAnswer(after, SIZE_WH, "v1"), COCO)


def test_everybody_is_named_once_and_boxes_come_last(shown: list[Pose]) -> None:
    after = [following(shown[0], NOSE), shown[1]]
    result = answered(click(NOSE, shown[0]), screen(shown), after)
    points = [item["id"] for item in result if item["type"] == "keypointlabels"]
    assert len(points) == len(set(points)) == 2 * len(COCO)
    assert [item["id"] for item in result[-2:]] == ["p0", "p1"]
    assert all(item["type"] != "rectanglelabels" for item in result[:-2])


def test_held_keypoints_are_echoed_to_the_last_digit(shown: list[Pose]) -> None:
    placed = following(shown[0], WRIST)
    result = answered(click(NOSE, placed), screen([placed, shown[1]]), [following(placed, NOSE), shown[1]])
    before = next(item for item in screen([placed]) if item["id"] == "p0_left_wrist")
    after = next(item for item in result if item["id"] == "p0_left_wrist" and item["type"] == "keypointlabels")
    assert (after["value"]["x"], after["value"]["y"]) == (before["value"]["x"], before["value"]["y"])
    assert after["meta"]["held"] is True


def test_visibility_is_repeated(shown: list[Pose]) -> None:
    shown[1].visibility[COCO.index(WRIST)] = 1
    result = answered(click(NOSE, shown[0]), screen(shown), [following(shown[0], NOSE), shown[1]])
    chosen = [
        item["value"]["choices"] for item in result if item["id"] == "p1_left_wrist" and item["type"] == "choices"
    ]
    assert chosen == [["occluded"]]


def test_a_deleted_person_stays_deleted(shown: list[Pose]) -> None:
    nose_of_second = [item for item in screen(shown) if item["id"] == "p1_nose"]
    result = answered(click(NOSE, shown[1]), screen(shown), [shown[0], following(shown[1], NOSE)], nose_of_second)
    assert {item["id"].split("_")[0] for item in result} == {"p1"}


def test_everybody_is_named_if_the_context_tells_nothing_of_the_screen(shown: list[Pose]) -> None:
    result = answered(click(NOSE, shown[0]), screen(shown), [following(shown[0], NOSE), shown[1]], [])
    assert {item["id"].split("_")[0] for item in result} == {"p0", "p1"}
