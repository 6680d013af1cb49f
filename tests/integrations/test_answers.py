"""What an answer names on the annotator's screen, and what it leaves alone because a human may just have changed it."""

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


def answered(trigger: dict[str, Any], saved: Items, after: list[Pose], *, repeat: bool = False) -> set[str]:
    """Return the ids that an answer names; the screen shows what was saved."""
    label = trigger["value"].get("keypointlabels")
    like = [item for item in saved if item["type"] == trigger["type"] and item["value"].get("keypointlabels") == label]
    task = {"id": 1, "data": {"image": "a.jpg"}, "drafts": [{"result": saved, "user": "ann@example.com"}]}
    body = {"tasks": [task], "params": {"context": {"result": [*like, trigger]}}}
    interaction = read_interaction(PredictRequest.model_validate(body), COCO, "image")
    result = write_answer(interaction, PoseAnswer(after, SIZE_WH, "v1"), COCO, repeat=repeat)
    return {item["id"] for item in result}


def everything_of(person: int) -> set[str]:
    return {f"p{person}", *(f"p{person}_{keypoint}" for keypoint in COCO.keypoints)}


def test_only_who_was_clicked_on_is_named(shown: list[Pose]) -> None:
    after = [shown[0], following(shown[1], WRIST)]
    assert answered(click(WRIST, shown[1]), screen(shown), after) == everything_of(1)


def test_a_held_keypoint_is_named_only_by_the_answer_that_puts_it_there(shown: list[Pose]) -> None:
    first = following(shown[0], NOSE)
    second = following(first, WRIST)
    stale = screen(shown)  # the draft lags: the nose may have been dragged or judged since it was clicked
    assert "p0_nose" not in answered(click(WRIST, first), stale, [second, shown[1]])
    assert "p0_nose" in answered(click(NOSE, first), stale, [following(first, NOSE), shown[1]])


def test_an_answer_repeats_what_the_browser_may_have_dropped(shown: list[Pose]) -> None:
    first = following(shown[0], NOSE)
    after = [first, following(shown[1], WRIST)]
    repeated = answered(click(WRIST, shown[1]), screen(shown), after, repeat=True)
    assert repeated == everything_of(0) | everything_of(1)


def test_a_wrong_label_is_named_even_on_a_held_keypoint(shown: list[Pose]) -> None:
    first = following(shown[0], NOSE)
    mislabelled = screen([first, shown[1]])
    for item in mislabelled[:17]:
        item["value"]["keypointlabels"] = [WRIST]
    after = [following(first, WRIST), shown[1]]
    assert answered(click(WRIST, first), mislabelled, after) == everything_of(0)

    stale = [item for item in screen(shown) if item["id"] != "p0_left_wrist"]  # it wears another label, nobody knows
    assert answered(click(WRIST, first), stale, after) == everything_of(0)


def test_what_was_undone_is_named(shown: list[Pose]) -> None:
    clicked = following(shown[0], NOSE)
    after = [following(shown[0], WRIST), shown[1]]
    assert answered(click(WRIST, shown[0]), screen([clicked, shown[1]]), after) == everything_of(0)


def test_a_box_follows_its_person_unless_a_human_drew_or_resized_it(shown: list[Pose]) -> None:
    def is_box_named(saved: Items, score: float) -> bool:
        after = [replace(following(shown[0], WRIST), score=score), shown[1]]
        return "p0" in answered(click(WRIST, shown[0]), saved, after)

    certain, resized = screen([replace(shown[0], score=1.0), shown[1]]), screen(shown)
    resized[-2]["value"]["width"] += 1.0
    assert is_box_named(screen(shown), score=0.9)
    assert not is_box_named(certain, score=1.0)
    assert not is_box_named(resized, score=0.9)
    assert not is_box_named([item for item in certain if item["id"] != "p0"], score=1.0)  # the draft lags


def test_a_new_person_comes_with_her_box(shown: list[Pose], make_pose: Any) -> None:
    added = replace(make_pose((280, 96, 330, 430), seed=2), score=1.0)
    box = drawn("rectanglelabels", x=43.75, y=20.0, width=7.8, height=69.6, rectanglelabels=["person"])
    assert answered(box, screen(shown), [*shown, added]) == everything_of(2)


def test_everybody_is_named_on_an_empty_screen(shown: list[Pose]) -> None:
    after = [following(shown[0], NOSE), shown[1]]
    assert answered(click(NOSE, shown[0]), [], after) == everything_of(0) | everything_of(1)
