"""A pose service that needs no model: what it answers can be told from what it was asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from clickpose.annotations import VISIBLE, Pose
from clickpose.errors import InvalidClick
from clickpose.skeleton import Skeleton
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.interface import labelling_interface
from integrations.label_studio.proxy import build_proxy
from integrations.label_studio.routes import build_router
from integrations.label_studio.server import LabelStudioServer
from integrations.label_studio.service import KeypointEdit, PersonEdit, PoseAnswer, Screen
from tests.browser import PROGRAM
from tests.integrations.follower import SKELETON, Follower
from tests.integrations.labelling_page import Editor, serving

SIZE_WH = (640, 480)


def build_pose(skeleton: Skeleton, box_px: tuple[float, ...] = (64, 48, 256, 432), seed: int = 0) -> Pose:
    """Return a pose with keypoints drawn at random inside the box, all visible and none held."""
    box = np.array(box_px, np.float32)
    random = np.random.default_rng(seed)
    keypoints_px = (box[:2] + random.random((len(skeleton), 2)) * (box[2:] - box[:2])).astype(np.float32)
    return Pose(
        keypoints_px=keypoints_px,
        visibility=np.full(len(skeleton), 2),
        scores=np.full(len(skeleton), 0.5, np.float32),
        box_px=box,
        score=0.9,
        held=np.zeros(len(skeleton), np.bool_),
    )


class FakeService:
    """Finds the same two people in every image, and shifts the edited person by one pixel."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton = skeleton
        self.found = [build_pose(skeleton), build_pose(skeleton, (340, 48, 560, 432), seed=1)]
        self.edits: list[tuple[Screen, KeypointEdit | PersonEdit]] = []
        self.failure: Exception | None = None

    async def model_version(self) -> str:
        return "fake-v1"

    async def status(self) -> dict[str, Any]:
        return {"status": "ready", "versions": ["fake-v1", "fake-v0"]}

    async def predict(self, image_url: str, *, in_batch: bool = False) -> PoseAnswer:
        if "broken" in image_url and self.failure is not None:
            raise self.failure
        return PoseAnswer(self.found, SIZE_WH, "fake-v1")

    async def edit(self, screen: Screen, edit: KeypointEdit | PersonEdit) -> PoseAnswer:
        if self.failure is not None:
            raise self.failure
        self.edits.append((screen, edit))
        poses = list(screen.saved or self.found)
        if isinstance(edit, PersonEdit):
            x0, y0, x1, y1 = (float(edge) for edge in edit.box_px)
            poses.append(build_pose(self.skeleton, (x0, y0, x1, y1), seed=len(poses)))
            return PoseAnswer(poses, SIZE_WH, "fake-v1", len(poses) - 1)
        person = _around(poses, edit.xy_px) if edit.person is None else edit.person
        if person >= len(poses):
            raise InvalidClick(f"person {person} is not there")
        poses[person] = _placed(poses[person], edit)
        return PoseAnswer(poses, SIZE_WH, "fake-v1", person)


def _around(poses: list[Pose], xy_px: tuple[float, float]) -> int:
    """Return who has this place in the box."""
    return next(
        n for n, pose in enumerate(poses) if (pose.box_px[:2] <= xy_px).all() and (xy_px <= pose.box_px[2:]).all()
    )


def _placed(pose: Pose, edit: KeypointEdit) -> Pose:
    held, visibility = pose.held.copy(), pose.visibility.copy()
    keypoints_px = pose.keypoints_px + np.where(held, 0, 1)[:, None].astype(np.float32)
    held[edit.keypoint], visibility[edit.keypoint] = True, VISIBLE if edit.visibility is None else edit.visibility
    keypoints_px[edit.keypoint] = edit.xy_px
    return replace(pose, keypoints_px=keypoints_px, visibility=visibility, held=held)


@pytest.fixture
def skeleton() -> Skeleton:
    return Skeleton.load("coco17")


@pytest.fixture
def service(skeleton: Skeleton) -> FakeService:
    return FakeService(skeleton)


@pytest.fixture
def make_pose(skeleton: Skeleton) -> Any:
    return lambda *args, **kwargs: build_pose(skeleton, *args, **kwargs)


@pytest.fixture(scope="session")
def label_studio(empty_label_studio: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudioServer]:
    """A real Label Studio, of another version if PROGRAM says so."""
    folder = tmp_path_factory.mktemp("label-studio")
    shutil.copytree(empty_label_studio, folder, dirs_exist_ok=True)
    with LabelStudioServer(folder, program=os.environ.get(PROGRAM)) as server:
        yield server


@pytest.fixture(scope="module")
def desk(chromium: str, page: Any, label_studio: LabelStudioServer) -> Iterator[Editor]:
    """Label Studio behind the proxy, with a project and a service, and somebody logged in."""
    images = label_studio.files / "pictures"
    images.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", SIZE_WH, "#5a6a7a").save(images / "a.png")
    service, app = Follower(), FastAPI()
    app.include_router(build_router(service))
    with (
        serving(app) as backend,
        serving(build_proxy(label_studio.url, [SKELETON])) as url,
        LabelStudio(label_studio.url, label_studio.token) as client,
    ):
        project = client.create_project("poses", labelling_interface(SKELETON))["id"]
        client.add_local_files(project, str(images))
        client.connect_backend(project, backend, title="follower", user="", password="")
        editor = Editor(page, url, client, project, service)
        editor.new_task()
        client.show_predictions_of(project, "follower-1")  # Label Studio must have one of them
        editor.log_in(label_studio.username, label_studio.password)
        yield editor


@pytest.fixture
def editor(desk: Editor) -> Editor:
    """A fresh task is open, and the service in its right mind."""
    desk.service.delay_s, desk.service.failure, desk.service.answers = 0.0, None, 0
    desk.service.edits.clear()
    desk.said.clear()
    desk.open(desk.new_task())
    return desk
