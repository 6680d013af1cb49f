"""Clicks survive the crash of a replica, an ingress, or a machine."""

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
from serve.monitoring.replica_status import ReplicaStatus
from serve.replica.replica import PoseReplica, Step
from serve.sessions.recovery import Backups
from serve.settings import AppArgs
from serve.web.remote import RemotePoseService

PLACES = [(33.25, 44.5), (50.0, 60.0), (20.0, 80.5), (70.5, 15.0)]


class Replicas:
    """A handle of several replicas; the test decides which one is called."""

    def __init__(self) -> None:
        self.called: PoseReplica | None = None
        self.num_calls = 0

    def options(self, **_: str) -> Replicas:
        return self

    def remote(self, step: Step) -> asyncio.Task[Any]:
        assert self.called is not None
        self.num_calls += 1
        return asyncio.create_task(self.called.answer(step))

    def broadcast(self, method: str) -> Replicas:
        return self

    async def results_async(self, **_: Any) -> list[ReplicaStatus]:
        return []


class Ingresses:
    """A handle of several ingresses."""

    def __init__(self) -> None:
        self.running: list[RemotePoseService] = []
        self.num_questions = 0

    def broadcast(self, method: str, question: Callable[[RemotePoseService], Any]) -> Ingresses:
        self.num_questions += 1
        self.answers = [question(service) for service in self.running]
        return self

    async def results_async(self, **_: Any) -> list[Any]:
        return self.answers


class Ingress:
    """An ingress, and the replicas of its service.

    Args:
        make: starts a replica.
        skeleton: of its model.
        ingresses: all of them; None for a single one.
        machine: that it runs on.
    """

    def __init__(
        self, make: Callable[..., PoseReplica], skeleton: Skeleton, ingresses: Any = None, machine: str = "here"
    ) -> None:
        self.make, self.skeleton = make, skeleton
        self.replicas: Any = Replicas()
        self.service = RemotePoseService(self.replicas, skeleton, first_version="v1", timeout_s=10, ingresses=ingresses)
        self.service.machine = machine
        if ingresses:
            ingresses.running.append(self.service)

    async def edit(self, replica: PoseReplica, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        self.replicas.called = replica
        return await self.service.edit(screen, edit)


@pytest.fixture
def tell(tmp_path: Path, image_file: Path, skeleton: Skeleton, load_fake: Any, write_model: Any, point_to: Any) -> Any:
    """Run a story with an ingress."""
    write_model(tmp_path / "models" / "v1")
    point_to(tmp_path, "v1")
    args = AppArgs(store=str(tmp_path), image_roots=(str(image_file.parent),), poll_s=0.02)

    def make(machine: str = "here") -> PoseReplica:
        replica = PoseReplica(args, skeleton, model_source(args), image_source(args), load_fake)
        replica.machine = machine
        return replica

    def run(story: Callable[[Ingress], Awaitable[None]]) -> None:
        async def main() -> None:
            await story(Ingress(make, skeleton))

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
        assert ingress.replicas.num_calls == 3
        second = ingress.make()
        assert_placed(await ingress.edit(second, screen, place(3)), [0, 1, 2, 3])
        await ingress.edit(second, screen, place(2))
        assert ingress.replicas.num_calls == 6  # one of them was repeated

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
        both = Ingresses()
        ours, theirs = (Ingress(ingress.make, ingress.skeleton, both) for _ in range(2))
        for k in range(num_known):
            await ours.edit(first, screen, place(k))
        for k in range(num_known, 3):
            await theirs.edit(second, screen, place(k))
        assert_placed(await ours.edit(first, screen, place(3)), [0, 1, 2, 3])
        await theirs.edit(first, screen, place(2))
        assert_placed(await ours.edit(ingress.make(), screen, place(1)), [0, 1, 2, 3])

    tell(story)


@pytest.mark.parametrize("replica_at", ["here", "there"])
def test_a_machine_that_dies_with_an_ingress_and_a_replica_takes_no_click_with_it(tell: Any, replica_at: str) -> None:
    async def story(ingress: Ingress) -> None:
        screen, replica, both = Screen("ann", "one.png"), ingress.make(replica_at), Ingresses()
        ours = Ingress(ingress.make, ingress.skeleton, both, "here")
        theirs = Ingress(ingress.make, ingress.skeleton, both, "there")
        for k in range(3):
            await ours.edit(replica, screen, place(k))
        both.running.remove(ours.service)  # the machine "here" dies
        alive = replica if replica_at == "there" else ingress.make("there")
        assert_placed(await theirs.edit(alive, screen, place(3)), [0, 1, 2, 3])

    tell(story)


@pytest.mark.parametrize(("replica_at", "ingresses_at"), [("here", ["here", "here"]), ("there", ["here", "there"])])
def test_an_answer_is_copied_only_if_a_machine_could_take_it_along(
    tell: Any, replica_at: str, ingresses_at: list[str]
) -> None:
    async def story(ingress: Ingress) -> None:
        screen, replica, both = Screen("ann", "one.png"), ingress.make(replica_at), Ingresses()
        ours, _ = (Ingress(ingress.make, ingress.skeleton, both, machine) for machine in ingresses_at)
        await ours.service.update_status()
        await ours.edit(replica, screen, place(0))  # the first one asks for earlier answers
        asked = both.num_questions
        await ours.edit(replica, screen, place(1))
        assert both.num_questions == asked

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
