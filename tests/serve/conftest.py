"""A fake model, a store for it, and a service in this process."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from ray import serve

from clickpose.annotations import Click, Pose
from clickpose.errors import InvalidClick, InvalidModel
from clickpose.skeleton import Skeleton
from serve.app import image_source, model_source
from serve.replica.replica import PoseReplica
from serve.settings import AppArgs
from serve.web.ingress import build_api
from serve.web.remote import IngressLimits, RemotePoseService

SKELETON = Skeleton("five", ("nose", "left_hand", "right_hand", "left_foot", "right_foot"), (0.05,) * 5)
K = len(SKELETON)


def _make_pose(x_px: float = 10.0, y_px: float = 10.0, held: Sequence[int] = ()) -> Pose:
    """A person with the nose at the given place and the other keypoints on a diagonal from there."""
    keypoints_px = np.array([[x_px + 8 * k, y_px + 6 * k] for k in range(K)], np.float32)
    is_held = np.isin(np.arange(K), held)
    box_px = np.array([*keypoints_px.min(0), *keypoints_px.max(0)], np.float32)
    return Pose(keypoints_px, np.full(K, 2), np.where(is_held, 1, 0.5).astype(np.float32), box_px, 0.9, is_held)


@dataclass(frozen=True)
class FakeEncoded:
    size_wh: tuple[int, int]
    num_bytes: int = 1000


@dataclass
class FakePredictor:
    """Finds two people in every image; a refine moves every free keypoint of the person who was clicked."""

    version: str = "v1"
    skeleton: Skeleton = SKELETON
    step_px: float = 2.0

    def encode(self, image: Image.Image) -> FakeEncoded:
        return FakeEncoded(image.size)

    def encode_all(self, images: Sequence[Image.Image]) -> list[FakeEncoded]:
        return [self.encode(image) for image in images]

    def detect(self, encoded: FakeEncoded, *, min_score: float | None = None) -> list[Pose]:
        return [_make_pose(10, 10), _make_pose(60, 10)]

    def refine(
        self, encoded: FakeEncoded, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        refined = list(poses)
        for click in clicks:
            if not all(0 <= at <= size for at, size in zip(click.xy_px, encoded.size_wh, strict=True)):
                raise InvalidClick(f"{click.xy_px} lies outside the image")
            refined[click.person] = self._follow(refined[click.person], click)
        return refined

    def add_person(self, encoded: FakeEncoded, poses: Sequence[Pose], box_px: Sequence[float]) -> list[Pose]:
        pose = _make_pose(box_px[0], box_px[1])
        return [*poses, replace(pose, box_px=np.array(box_px, np.float32))]

    def _follow(self, pose: Pose, click: Click) -> Pose:
        k = self.skeleton.index(click.keypoint)
        held = pose.held | (np.arange(K) == k)
        keypoints_px = np.where(held[:, None], pose.keypoints_px, pose.keypoints_px + np.float32(self.step_px))
        visibility = pose.visibility.copy()
        visibility[k] = click.visibility
        if click.visibility:
            keypoints_px[k] = click.xy_px
        return replace(pose, keypoints_px=keypoints_px, visibility=visibility, held=held)


def _load_fake(folder: Path, version: str) -> Any:
    if (folder / "weights").read_text() == "broken":
        raise InvalidModel(f"{folder} is broken")
    return FakePredictor(version, Skeleton.load(folder / "skeleton.json"))


def _write_model(folder: Path, *, weights: str = "good", skeleton: Skeleton = SKELETON) -> Path:
    folder.mkdir(parents=True)
    (folder / "skeleton.json").write_text(json.dumps(skeleton.to_dict()))
    (folder / "weights").write_text(weights)
    return folder


def _point_to(store: Path, version: str) -> None:
    (store / "models").mkdir(parents=True, exist_ok=True)
    (store / "models" / "unfinished").write_text(f"{version}\n")
    history = store / "models" / "history.json"
    events = json.loads(history.read_text()) if history.exists() else []
    line = [*(events[-1]["line"] if events else []), version]
    history.write_text(json.dumps([*events, {"version": version, "line": line}]))
    (store / "models" / "unfinished").replace(store / "models" / "current")


@pytest.fixture(scope="session")
def skeleton() -> Skeleton:
    return SKELETON


@pytest.fixture(scope="session")
def make_pose() -> Callable[..., Pose]:
    return _make_pose


@pytest.fixture(scope="session")
def predictor() -> FakePredictor:
    return FakePredictor()


@pytest.fixture(scope="session")
def encoded() -> FakeEncoded:
    return FakeEncoded((160, 120))


@pytest.fixture(scope="module")
def replicas(args: AppArgs, skeleton: Skeleton, load_fake: Any) -> Any:
    """The handle of a replica, for the module's own ``args``, that Serve runs in this process."""
    return serve.run(
        serve.deployment(PoseReplica).bind(args, skeleton, model_source(args), image_source(args), load_fake),
        _local_testing_mode=True,
    )


@pytest.fixture
def service(replicas: Any, skeleton: Skeleton, args: AppArgs) -> RemotePoseService:
    return RemotePoseService(replicas, skeleton, first_version="v1", timeout_s=10, limits=IngressLimits(args.sessions))


@pytest.fixture
def client(service: RemotePoseService, args: AppArgs) -> Iterator[TestClient]:
    assert args.secret is not None
    bearer = {"Authorization": f"Bearer {args.secret.get_secret_value()}"}
    with TestClient(build_api(service, args), headers=bearer, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="session")
def load_fake() -> Callable[[Path, str], Any]:
    """Load a model folder as ``write_model`` writes it; it fails where the weights say "broken"."""
    return _load_fake


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    return _write_model


@pytest.fixture(scope="session")
def point_to() -> Callable[[Path, str], None]:
    """Set a store's current version atomically."""
    return _point_to


@pytest.fixture
def image_file(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (160, 120), "teal").save(folder / "one.png")
    return folder / "one.png"


@pytest.fixture(scope="session")
def serve_url(ray_cluster: None) -> Iterator[str]:
    """The address of a real Ray Serve on this machine."""
    from ray import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
