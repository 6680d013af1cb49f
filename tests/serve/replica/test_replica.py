"""A replica with a fake model."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clickpose.annotations import Click, Pose
from clickpose.errors import ImageError, InvalidAnnotation, InvalidClick, NotReady
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, Screen, SeenKeypoint
from serve.app import image_source, model_source
from serve.monitoring.replica_status import Reply
from serve.replica.replica import PoseReplica
from serve.settings import AppArgs

Story = Callable[[PoseReplica], Awaitable[None]]
Tell = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path, write_model: Any, point_to: Any) -> Path:
    for version in ("v1", "v2"):
        write_model(tmp_path / "models" / version)
    point_to(tmp_path, "v1")
    return tmp_path


@pytest.fixture
def tell(store: Path, image_file: Path, skeleton: Skeleton, load_fake: Any) -> Tell:
    """Run a story on a replica."""
    args = AppArgs(store=str(store), image_roots=(str(image_file.parent),), poll_s=0.02, loading_timeout_s=5)

    def run(story: Story, load: Any = load_fake, **changes: Any) -> None:
        async def main() -> None:
            changed = args.model_copy(update=changes)
            await story(PoseReplica(changed, skeleton, model_source(changed), image_source(changed), load))

        asyncio.run(main())

    return run


def test_an_image_is_encoded_once(tell: Tell) -> None:
    async def story(replica: PoseReplica) -> None:
        answers = [reply.answer for reply in await asyncio.gather(*(replica.detect("one.png") for _ in range(3)))]
        assert {answer.model_version for answer in answers} == {"v1"}
        assert answers[0].size_wh == (160, 120) and len(answers[0].poses) == 2
        status = await replica.status()
        assert (status.cache_hits, status.cache_misses, status.cached_images) == (2, 1, 1)

    tell(story)


def test_the_next_click_keeps_what_was_clicked_before(tell: Tell) -> None:
    async def story(replica: PoseReplica) -> None:
        screen = Screen("ann", "one.png")
        await replica.edit(screen, KeypointEdit(1, (33.25, 44.5), 2, 0))
        answer = (await replica.edit(screen, KeypointEdit(2, (50.0, 60.0), 2, 0))).answer
        assert list(np.flatnonzero(answer.poses[0].held)) == [1, 2]
        assert answer.poses[0].keypoints_px[1].tolist() == [33.25, 44.5]

    tell(story)


def test_a_click_does_not_wait_for_an_image_that_is_being_opened(
    tell: Tell, image_file: Path, load_fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, clicked, niceness = threading.Event(), threading.Event(), {}
    Image.new("RGB", (200, 100)).save(image_file.parent / "slow.png")

    def load(folder: Path, version: str) -> Any:
        predictor = load_fake(folder, version)
        encode, refine = predictor.encode, predictor.refine

        def encode_slowly(image: Image.Image) -> Any:
            niceness["encode"] = os.getpriority(os.PRIO_PROCESS, 0)
            if image.width == 200:
                opening.set()
                assert clicked.wait(5), "the click waited"
            return encode(image)

        def refine_and_tell(*arguments: Any, **more: Any) -> Any:
            niceness["refine"] = os.getpriority(os.PRIO_PROCESS, 0)
            clicked.set()
            return refine(*arguments, **more)

        monkeypatch.setattr(predictor, "encode", encode_slowly)
        monkeypatch.setattr(predictor, "refine", refine_and_tell)
        return predictor

    async def story(replica: PoseReplica) -> None:
        await replica.detect("one.png")
        slow = asyncio.create_task(replica.detect("slow.png"))
        await asyncio.to_thread(opening.wait, 5)
        await replica.edit(Screen("ann", "one.png"), KeypointEdit(1, (33.25, 44.5), 2, 0))
        assert len((await slow).answer.poses) == 2

    tell(story, load)
    assert niceness["encode"] > niceness["refine"] or sys.platform != "linux"


def test_overlapping_clicks_are_all_kept(tell: Tell) -> None:
    async def story(replica: PoseReplica) -> None:
        shown = (await replica.detect("one.png")).answer.poses
        fresh = [SeenKeypoint(0, k, tuple(shown[0].keypoints_px[k].tolist())) for k in range(5)]
        screen = Screen("ann", "one.png", shown, fresh)
        edits = [KeypointEdit(k, (30.0 + k, 40.0), 2, 0) for k in range(3)]
        replies = await asyncio.gather(*(replica.edit(screen, edit) for edit in edits))
        assert [int(reply.answer.poses[0].held.sum()) for reply in replies] == [1, 2, 3]

    tell(story)


def test_a_box_on_an_empty_screen_adds_one_person(tell: Tell) -> None:
    async def story(replica: PoseReplica) -> None:
        box_px = np.array([5, 5, 50, 50], np.float32)
        assert len((await replica.edit(Screen("ann", "one.png"), PersonEdit(box_px))).answer.poses) == 1
        assert len((await replica.edit(Screen("bob", "one.png"), KeypointEdit(0, (11.0, 11.0)))).answer.poses) == 2

    tell(story)


def test_an_edit_that_fails_changes_nothing(tell: Tell) -> None:
    async def story(replica: PoseReplica) -> None:
        screen = Screen("ann", "one.png")
        await replica.edit(screen, KeypointEdit(1, (33.0, 44.0), 2, 0))
        with pytest.raises(InvalidClick):
            await replica.edit(screen, KeypointEdit(2, (999.0, 44.0), 2, 0))
        with pytest.raises(ImageError):
            await replica.edit(Screen("ann", "missing.png"), KeypointEdit(2, (9.0, 44.0), 2, 0))
        with pytest.raises(InvalidClick):
            await replica.edit(Screen("bob", "one.png"), KeypointEdit(2, (999.0, 44.0), 2, 0))
        assert (await replica.status()).sessions == 1
        answer = (await replica.edit(screen, KeypointEdit(3, (9.0, 44.0), 2, 0))).answer
        assert list(np.flatnonzero(answer.poses[0].held)) == [1, 3]

    tell(story)


def test_the_callers_poses_are_refined_and_not_stored(tell: Tell, make_pose: Callable[..., Pose]) -> None:
    async def story(replica: PoseReplica) -> None:
        poses = [make_pose(held=[4])]
        answer = (await replica.refine("one.png", poses, [Click(0, "left_hand", (3.0, 4.0))], "all")).answer
        assert list(np.flatnonzero(answer.poses[0].held)) == [1, 4]
        assert len((await replica.add_person("one.png", poses, (1, 1, 9, 9))).answer.poses) == 2
        assert (await replica.status()).sessions == 0

    tell(story)


def test_poses_of_another_skeleton_are_rejected(tell: Tell, make_pose: Callable[..., Pose]) -> None:
    async def story(replica: PoseReplica) -> None:
        pose = make_pose()
        short = Pose(pose.keypoints_px[:3], pose.visibility[:3], pose.scores[:3], pose.box_px, 1.0, pose.held[:3])
        with pytest.raises(InvalidAnnotation, match="person 0 has 3 keypoints"):
            await replica.refine("one.png", [short], [], "all")

    tell(story)


def test_errors_meant_for_the_caller_are_returned_not_raised(tell: Tell) -> None:
    async def story(replica: PoseReplica) -> None:
        assert isinstance(await replica.answer(partial(PoseReplica.detect, image_url="missing.png")), ImageError)
        assert isinstance(await replica.answer(partial(PoseReplica.detect, image_url="one.png")), Reply)
        with pytest.raises(TypeError):
            await replica.answer(PoseReplica.detect)

    tell(story)


def test_sessions_continue_after_a_promotion(tell: Tell, store: Path, point_to: Any) -> None:
    async def story(replica: PoseReplica) -> None:
        screen = Screen("ann", "one.png")
        await replica.edit(screen, KeypointEdit(1, (33.0, 44.0), 2, 0))
        point_to(store, "v2")
        while (await replica.status()).version != "v2":
            await asyncio.sleep(0.01)
        answer = (await replica.edit(screen, KeypointEdit(2, (50.0, 60.0), 2, 0))).answer
        assert answer.model_version == "v2" and answer.poses[0].held.sum() == 2
        status = await replica.status()
        assert (status.cache_misses, status.cached_images) == (2, 1)

    tell(story)


def test_a_replica_reports_why_its_model_does_not_load(tell: Tell) -> None:
    def load(folder: Path, version: str) -> Any:
        raise RuntimeError("out of memory")

    async def story(replica: PoseReplica) -> None:
        with pytest.raises(NotReady, match="out of memory"):
            await replica.detect("one.png")
        replica.check_health()

    tell(story, load, loading_timeout_s=0.3)
