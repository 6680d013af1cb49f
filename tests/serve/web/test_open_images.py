"""Programs that let the service keep the poses: open, click, undo, add, remove, close; and uploads."""

from __future__ import annotations

import io
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from serve.app import AppArgs, image_source
from serve.images.uploads import UploadMissing, Uploads
from serve.web.remote import RemotePoseService

NOSE = {"person": 1, "keypoint": "nose", "xy_px": [7.5, 8.25]}
BOX = {"box_px": [5, 5, 50, 60]}


@pytest.fixture(scope="module")
def args(tmp_path_factory: pytest.TempPathFactory, write_model: Any, point_to: Any) -> AppArgs:
    root = tmp_path_factory.mktemp("store")
    write_model(root / "models" / "v1")
    point_to(root, "v1")
    Image.new("RGB", (160, 120), "teal").save(root / "one.png")
    return AppArgs(store=str(root), image_roots=(str(root),), secret="open sesame", sessions=3)


@pytest.fixture
def opened(client: TestClient) -> dict[str, Any]:
    return dict(client.post("/v1/open", json={"image": "one.png"}).json())


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (160, 120), colour).save(buffer, "png")
    return buffer.getvalue()


def test_clicks_build_on_each_other_and_can_be_undone_one_by_one(client: TestClient, opened: dict[str, Any]) -> None:
    at = f"/v1/open/{opened['key']}"
    first = client.post(f"{at}/clicks", json={"clicks": [NOSE]}).json()["poses"]
    second = client.post(f"{at}/clicks", json={"clicks": [NOSE | {"keypoint": "left_hand"}]}).json()["poses"]
    assert [pose["held"] for pose in second] == [[False] * 5, [True, True, False, False, False]]
    assert second[1]["keypoints_px"][0] == [7.5, 8.25]
    assert client.get(at).json()["poses"] == second
    assert client.post(f"{at}/undo").json()["poses"] == first
    assert client.post(f"{at}/undo").json()["poses"] == opened["poses"]
    assert client.post(f"{at}/undo").json()["poses"] == opened["poses"]  # no further


def test_adding_the_same_box_again_adds_no_one(client: TestClient, opened: dict[str, Any]) -> None:
    at = f"/v1/open/{opened['key']}/persons"
    assert client.post(at, json=BOX).json() == client.post(at, json=BOX).json()


def test_persons_can_be_added_and_removed(client: TestClient, opened: dict[str, Any]) -> None:
    at = f"/v1/open/{opened['key']}"
    added = client.post(f"{at}/persons", json=BOX).json()["poses"]
    assert added[:2] == opened["poses"] and len(added) == 3
    assert client.delete(f"{at}/persons/0").json()["poses"] == added[1:]
    assert client.post(f"{at}/undo").json()["poses"] == added
    assert client.delete(f"{at}/persons/3").status_code == 422


def test_a_step_that_fails_changes_nothing(client: TestClient, opened: dict[str, Any]) -> None:
    at = f"/v1/open/{opened['key']}"
    for wrong in (NOSE | {"person": -1}, NOSE | {"xy_px": [700, 8]}, NOSE | {"xy_px": [7]}):
        assert client.post(f"{at}/clicks", json={"clicks": [wrong]}).status_code == 422
    assert client.get(at).json()["poses"] == opened["poses"]


def test_an_image_can_be_opened_with_earlier_poses(client: TestClient, opened: dict[str, Any]) -> None:
    poses = client.post(f"/v1/open/{opened['key']}/clicks", json={"clicks": [NOSE]}).json()["poses"]
    again = client.post("/v1/open", json={"image": "one.png", "poses": poses}).json()
    assert again["poses"] == poses and again["key"] != opened["key"]


def test_closed_and_expired_images_are_not_open(client: TestClient, opened: dict[str, Any]) -> None:
    at = f"/v1/open/{opened['key']}"
    assert client.delete(at).status_code == 204
    assert client.delete(at).status_code == 404
    keys = [client.post("/v1/open", json={"image": "one.png"}).json()["key"] for _ in range(4)]
    assert [client.get(f"/v1/open/{key}").status_code for key in keys] == [404, 200, 200, 200]


def test_every_route_accepts_the_name_of_an_uploaded_image(client: TestClient) -> None:
    name = client.post("/v1/uploads", content=png()).json()["image"]
    assert client.post("/v1/uploads", content=png()).json()["image"] == name
    assert client.post("/v1/detect", json={"image": name}).json()["size_wh"] == [160, 120]
    assert client.post("/v1/open", json={"image": name}).json()["key"]


def test_uploads_must_be_images_and_expire(client: TestClient) -> None:
    assert client.post("/v1/uploads", content=b"not an image").status_code == 422
    answer = client.post("/v1/detect", json={"image": "upload:" + 64 * "0"})
    assert answer.status_code == 404 and "upload it again" in answer.json()["detail"]


def test_a_replica_that_lacks_an_uploaded_image_receives_it_again(
    client: TestClient, service: RemotePoseService
) -> None:
    name = service.uploads.keep(png("blue"))  # the ingress has it, the replica does not
    assert client.post("/v1/detect", json={"image": name}).json()["size_wh"] == [160, 120]


def test_a_replica_keeps_as_many_uploads_as_its_setting_allows(args: AppArgs) -> None:
    uploads = image_source(args).uploads
    names = [uploads.keep(png(colour)) for colour in ("red", "green", "blue")]
    assert [uploads.read(name) for name in names] == [png(colour) for colour in ("red", "green", "blue")]


def test_the_least_recently_used_upload_is_removed_first() -> None:
    uploads = Uploads(max_bytes=20)
    first, second = uploads.keep(b"0123456789"), uploads.keep(b"9876543210")
    uploads.read(first)
    uploads.keep(b"abcdefghij")
    assert uploads.read(first) == b"0123456789" and uploads.num_bytes == 20
    with pytest.raises(UploadMissing):
        uploads.read(second)
