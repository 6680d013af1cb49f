"""Clicks survive the crash of a replica or an ingress."""

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
from serve.sessions.recovery import Backups, StatesMissing, merge
from serve.settings import AppArgs

PLACES = [(33.25, 44.5), (50.0, 60.0), (20.0, 80.5), (70.5, 15.0)]


class Ingress:
    """An ingress with several replicas; the test decides which one is called.

    Args:
        make: starts a replica.
        complete: whether it is the only ingress; otherwise the test sets ``peers``.
    """

    def __init__(self, make: Callable[[], PoseReplica], *, complete: bool = True) -> None:
        self.make = make
        self.backups = Backups(100, complete=complete)
        self.peers = [self.backups]
        self.retries = 0

    async def edit(self, replica: PoseReplica, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        try:
            reply = await replica.edit(screen, edit, self.backups.of(screen))
        except StatesMissing as missing:
            self.retries += 1
            backups = [peer.hand_over(screen, missing.replica) for peer in self.peers]
            reply = await replica.edit(screen, edit, merge(backups, screen.session))
        self.backups.record(screen, reply.number, reply.answer.poses)
        return reply.answer


@pytest.fixture
def tell(tmp_path: Path, image_file: Path, skeleton: Skeleton, load_fake: Any, write_model: Any, point_to: Any) -> Any:
    """Run a story with an ingress."""
    write_model(tmp_path / "models" / "v1")
    point_to(tmp_path, "v1")
    args = AppArgs(store=str(tmp_path), image_roots=(str(image_file.parent),), poll_s=0.02)

    def run(story: Callable[[Ingress], Awaitable[None]]) -> None:
        async def main() -> None:
            await story(Ingress(lambda: PoseReplica(args, skeleton, model_source(args), image_source(args), load_fake)))

        asyncio.run(main())

    return run


def place(k: int) -> KeypointEdit:
    return KeypointEdit(k, PLACES[k], 2, 0)


def assert_placed(answer: PoseAnswer, keypoints: list[int]) -> None:
    pose = answer.poses[0]
    assert list(np.flatnonzero(pose.held)) == keypoints
    assert [tuple(pose.keypoints_px[k].tolist()) for k in keypoints] == [PLACES[k] for k in keypoints]


def test_a_replica_that_takes_over_restores_clicks_that_no_draft_contains(tell: Any) -> None:
    async def story(ingress: Ingress) -> None:
        screen, first = Screen("ann", "one.png"), ingress.make()
        for k in range(3):
            await ingress.edit(first, screen, place(k))
        assert ingress.retries == 0
        second = ingress.make()
        assert_placed(await ingress.edit(second, screen, place(3)), [0, 1, 2, 3])
        await ingress.edit(second, screen, place(2))
        assert ingress.retries == 1

    tell(story)


def test_an_old_draft_does_not_move_a_keypoint_back(tell: Any) -> None:
    async def story(ingress: Ingress) -> None:
        first = ingress.make()
        draft = (await ingress.edit(first, Screen("ann", "one.png"), KeypointEdit(0, (5.0, 6.0), 2, 0))).poses
        await ingress.edit(first, Screen("ann", "one.png"), place(0))
        answer = await ingress.edit(ingress.make(), Screen("ann", "one.png", saved=draft), place(1))
        assert_placed(answer, [0, 1])

    tell(story)


def test_a_replica_that_gets_an_image_back_restores_what_another_did(tell: Any) -> None:
    async def story(ingress: Ingress) -> None:
        screen, first, second = Screen("ann", "one.png"), ingress.make(), ingress.make()
        await ingress.edit(first, screen, place(0))
        await ingress.edit(second, screen, place(1))
        assert_placed(await ingress.edit(first, screen, place(2)), [0, 1, 2])

    tell(story)


def test_overlapping_edits_after_a_takeover_build_on_each_other(tell: Any) -> None:
    async def story(ingress: Ingress) -> None:
        screen = Screen("ann", "one.png")
        await ingress.edit(ingress.make(), screen, place(0))
        second = ingress.make()
        await asyncio.gather(*(ingress.edit(second, screen, place(k)) for k in (1, 2, 3)))
        assert_placed(await ingress.edit(second, screen, place(3)), [0, 1, 2, 3])

    tell(story)


def test_a_session_whose_user_becomes_known_while_its_replica_dies_continues(tell: Any) -> None:
    async def story(ingress: Ingress) -> None:
        first = ingress.make()
        await ingress.edit(first, Screen("1/2/", "one.png"), place(0))
        before = await ingress.edit(first, Screen("1/2/", "one.png"), place(1))
        noses_px = [pose.keypoints_px[0].tolist() for pose in before.poses]
        shown = [SeenKeypoint(person, 0, tuple(xy_px), held=person == 0) for person, xy_px in enumerate(noses_px)]
        named = Screen("1/2/ann", "one.png", fresh=shown, earlier_session="1/2/")
        second = ingress.make()
        assert_placed(await ingress.edit(second, named, place(2)), [0, 1, 2])
        assert_placed(await ingress.edit(ingress.make(), named, place(3)), [0, 1, 2, 3])

    tell(story)


@pytest.mark.parametrize("num_known", [0, 1, 3])
def test_any_ingress_continues_a_session_wherever_its_image_is(tell: Any, num_known: int) -> None:
    """Clicks go through one of two ingresses; the image moves to another replica and back."""

    async def story(ingress: Ingress) -> None:
        screen, first, second = Screen("ann", "one.png"), ingress.make(), ingress.make()
        ours, theirs = Ingress(ingress.make, complete=False), Ingress(ingress.make, complete=False)
        ours.peers = theirs.peers = [ours.backups, theirs.backups]
        for k in range(num_known):
            await ours.edit(first, screen, place(k))
        for k in range(num_known, 3):
            await theirs.edit(second, screen, place(k))
        assert_placed(await ours.edit(first, screen, place(3)), [0, 1, 2, 3])
        await theirs.edit(first, screen, place(2))
        assert_placed(await ours.edit(ingress.make(), screen, place(1)), [0, 1, 2, 3])

    tell(story)


def test_backups_are_bounded_and_held_keypoints_counted(make_pose: Callable[..., Pose]) -> None:
    backups = Backups(max_sessions=2, max_states=3)
    for session in ("ann", "bob", "eve"):
        for number in (1, 2, 4, 3, 5):
            backups.record(Screen(session, "one.png"), number, [make_pose(held=range(number))])
    assert backups.of(Screen("ann", "one.png")).states == {}
    assert backups.of(Screen("eve", "one.png")).states is None
    states = backups.hand_over(Screen("eve", "one.png"), "a replica").states
    assert states and {number: int(state[0].held.sum()) for number, state in states.items()} == {3: 3, 4: 4, 5: 5}
    assert backups.num_held() == 10
