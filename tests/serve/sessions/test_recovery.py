from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clickpose.annotations import Pose
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen, SeenKeypoint
from serve.app import image_source, model_source
from serve.replica.replica import PoseReplica
from serve.sessions.recovery import Backups, StatesMissing
from serve.settings import AppArgs

PLACES = [(33.25, 44.5), (50.0, 60.0), (20.0, 80.5), (70.5, 15.0)]


class Door:
    """A front door with as many replicas as a test wants; it decides itself who is asked."""

    def __init__(self, make: Callable[[], PoseReplica]) -> None:
        self.make = make
        self.backups = Backups(100)
        self.asked_twice = 0

    async def edit(self, replica: PoseReplica, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        try:
            reply = await replica.edit(screen, edit, self.backups.of(screen))
        except StatesMissing:
            self.asked_twice += 1
            reply = await replica.edit(screen, edit, self.backups.of(screen, with_states=True))
        self.backups.record(screen, reply.number, reply.answer.poses)
        return reply.answer


@pytest.fixture
def tell(tmp_path: Path, picture: Path, skeleton: Skeleton, load_fake: Any, write_model: Any, point_to: Any) -> Any:
    """Run a story in front of a door."""
    write_model(tmp_path / "models" / "v1")
    point_to(tmp_path, "v1")
    args = AppArgs(store=str(tmp_path), image_roots=(str(picture.parent),), poll_s=0.02)

    def run(story: Callable[[Door], Awaitable[None]]) -> None:
        async def main() -> None:
            await story(Door(lambda: PoseReplica(args, skeleton, model_source(args), image_source(args), load_fake)))

        asyncio.run(main())

    return run


def place(k: int) -> KeypointEdit:
    return KeypointEdit(k, PLACES[k], 2, 0)


def assert_placed(answer: PoseAnswer, keypoints: list[int]) -> None:
    pose = answer.poses[0]
    assert list(np.flatnonzero(pose.held)) == keypoints
    assert [tuple(pose.keypoints_px[k].tolist()) for k in keypoints] == [PLACES[k] for k in keypoints]


def test_a_replica_that_takes_over_knows_what_no_draft_tells(tell: Any) -> None:
    async def story(door: Door) -> None:
        screen, first = Screen("ann", "one.png"), door.make()
        for k in range(3):
            await door.edit(first, screen, place(k))
        assert door.asked_twice == 0
        second = door.make()
        assert_placed(await door.edit(second, screen, place(3)), [0, 1, 2, 3])
        await door.edit(second, screen, place(2))
        assert door.asked_twice == 1

    tell(story)


def test_a_draft_that_lags_does_not_bring_an_old_place_back(tell: Any) -> None:
    async def story(door: Door) -> None:
        first = door.make()
        draft = (await door.edit(first, Screen("ann", "one.png"), KeypointEdit(0, (5.0, 6.0), 2, 0))).poses
        await door.edit(first, Screen("ann", "one.png"), place(0))
        answer = await door.edit(door.make(), Screen("ann", "one.png", saved=draft), place(1))
        assert_placed(answer, [0, 1])

    tell(story)


def test_a_replica_whose_turn_comes_again_hears_of_what_another_did_meanwhile(tell: Any) -> None:
    async def story(door: Door) -> None:
        screen, first, second = Screen("ann", "one.png"), door.make(), door.make()
        await door.edit(first, screen, place(0))
        await door.edit(second, screen, place(1))
        assert_placed(await door.edit(first, screen, place(2)), [0, 1, 2])

    tell(story)


def test_edits_that_overlap_after_a_takeover_build_on_each_other(tell: Any) -> None:
    async def story(door: Door) -> None:
        screen = Screen("ann", "one.png")
        await door.edit(door.make(), screen, place(0))
        second = door.make()
        await asyncio.gather(*(door.edit(second, screen, place(k)) for k in (1, 2, 3)))
        assert_placed(await door.edit(second, screen, place(3)), [0, 1, 2, 3])

    tell(story)


def test_a_session_that_gets_its_name_while_its_replica_dies_goes_on(tell: Any) -> None:
    async def story(door: Door) -> None:
        first = door.make()
        await door.edit(first, Screen("1/2/", "one.png"), place(0))
        before = await door.edit(first, Screen("1/2/", "one.png"), place(1))
        noses_px = [pose.keypoints_px[0].tolist() for pose in before.poses]
        shown = [SeenKeypoint(person, 0, tuple(xy_px), held=person == 0) for person, xy_px in enumerate(noses_px)]
        named = Screen("1/2/ann", "one.png", fresh=shown, earlier_session="1/2/")
        second = door.make()
        assert_placed(await door.edit(second, named, place(2)), [0, 1, 2])
        assert_placed(await door.edit(door.make(), named, place(3)), [0, 1, 2, 3])

    tell(story)


def test_what_is_remembered_is_bounded_and_counted(make_pose: Callable[..., Pose]) -> None:
    backups = Backups(max_sessions=2, max_states=3)
    for session in ("ann", "bob", "eve"):
        for number in (1, 2, 4, 3, 5):
            backups.record(Screen(session, "one.png"), number, [make_pose(held=range(number))])
    assert backups.of(Screen("ann", "one.png")).numbers == {}
    backup = backups.of(Screen("eve", "one.png"), with_states=True)
    assert backup.numbers == {"eve": 5}
    assert [int(state[0].held.sum()) for state in backup.states["eve"]] == [3, 4, 5]
    assert backups.num_held() == 10
