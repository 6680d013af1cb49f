"""From a folder of one's own to a project and back, through a real Label Studio: images keep their identity.

Every command may be repeated, and a command that is refused leaves nothing behind.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from clickpose.__main__ import main
from clickpose.annotations import AnnotatedImage, AnnotationSet, Pose
from clickpose.checkpoints.model_folder import save_model
from clickpose.commands.collecting import Project, collect
from clickpose.model import ClickPose, tiny
from clickpose.skeleton import Skeleton
from integrations.coco import results_to_coco, write_coco
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.interface import labelling_interface
from integrations.label_studio.ordering import annotated_names, set_order
from integrations.label_studio.server import LabelStudioServer
from integrations.label_studio.tasks import make_prediction
from pipeline.dataset import FETCHED, ImageFolder
from pipeline.listing import list_images
from pipeline.prelabelled import Model, Prelabel
from pipeline.shards import write_shard
from pipeline.snapshot import current_snapshot, load_snapshot
from pipeline.store import Store

NAMES = ["cam1/0001.jpg", "cam2/0001.jpg", "ü b/100%.jpg", "q?.jpg", "frame:01.jpg", "a#1+&.jpg", "50%25.jpg"]
SKELETON = Skeleton.load("coco17")

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "v1"
    return save_model(folder, ClickPose(tiny(len(SKELETON))), SKELETON, metrics={}, card="")


@pytest.fixture
def photos(label_studio: LabelStudioServer, title: str) -> Path:
    """Images of different sizes in Label Studio's document root."""
    folder = label_studio.files / title
    for index, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64 + index, 48)).save(folder / name)
    return folder


@pytest.fixture
def title(tmp_path: Path) -> str:
    return tmp_path.name[-50:]


@pytest.fixture
def client(label_studio: LabelStudioServer) -> LabelStudio:
    return LabelStudio(label_studio.url, label_studio.token)


@pytest.fixture
def command(
    label_studio: LabelStudioServer, model: Path, title: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Run ``clickpose label-studio ...`` on a project of the test's own."""
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", label_studio.token)

    def run(name: str, *arguments: object, **options: object) -> None:
        project = ["--url", label_studio.url, "--title", title, "--model", str(model)]
        more = [text for key, value in options.items() for text in (f"--{key.replace('_', '-')}", str(value))]
        monkeypatch.setattr(sys, "argv", ["clickpose", "label-studio", name, *map(str, arguments), *project, *more])
        with pytest.raises(SystemExit) as exit:
            main()
        if exit.value.code:
            raise AssertionError(exit.value.code)

    return run


def prelabel(photos: Path, out: Path, version: str = "v1") -> Path:
    """Write pre-labels as a run would, each image with as many persons as its width tells."""
    found = []
    for image in list_images(photos):
        size_wh = Image.open(image.uri).size
        named = image._replace(name=image.uri.removeprefix(f"{photos}/"))
        found.append(Prelabel(named, size_wh, tuple(pose(size_wh) for _ in range(size_wh[0] - 63)), version))
    write_shard(Store(out), version, found, Model(version, "models", version, SKELETON))
    return out


def pose(size_wh: tuple[int, int]) -> Pose:
    places = np.random.default_rng(0).uniform(1, 47, (17, 2)).astype(np.float32)
    box = np.array([0, 0, *size_wh], np.float32)
    return Pose(places, np.full(17, 2), np.full(17, 0.5, np.float32), box, 0.9, np.zeros(17, bool))


def tasks_of(client: LabelStudio, title: str) -> dict[str, dict[str, Any]]:
    project = client.find_project(title)
    assert project is not None
    tasks = list(client.tasks(project["id"]))
    assert len({task["data"]["file_name"] for task in tasks}) == len(tasks)
    return {task["data"]["file_name"]: task for task in tasks}


def boxes_of(prediction: dict[str, Any]) -> int:
    return sum(region["type"] == "rectanglelabels" for region in prediction["result"])


def test_every_image_has_its_own_task_address_and_predictions(
    client: LabelStudio, command: Any, photos: Path, tmp_path: Path, title: str
) -> None:
    first, second = prelabel(photos, tmp_path / "first"), prelabel(photos, tmp_path / "second", "v2")
    for _ in range(2):
        command("init", pictures=photos)
    for prelabels in (first, first, second, second):
        command("push", prelabels)
    tasks = tasks_of(client, title)
    assert sorted(tasks) == sorted(NAMES)
    for name, task in tasks.items():
        assert client.fetch(task["data"]["image"]) == (photos / name).read_bytes()
        assert sorted(prediction["model_version"] for prediction in task["predictions"]) == ["v1", "v2"]
        assert {boxes_of(prediction) for prediction in task["predictions"]} == {NAMES.index(name) + 1}
    assert client.find_project(title)["model_version"] == "v2"


def test_the_first_guesses_may_be_those_of_any_model(
    client: LabelStudio, command: Any, photos: Path, tmp_path: Path, title: str
) -> None:
    images = tuple(AnnotatedImage(i, name, Image.open(photos / name).size) for i, name in enumerate(NAMES))
    write_coco(AnnotationSet(SKELETON, images), tmp_path / "data.json")
    poses = {image.id: [pose(image.size_wh), replace(pose(image.size_wh), score=0.1)] for image in images[1:]}
    (tmp_path / "vitpose.json").write_text(json.dumps(results_to_coco(poses)))
    command("init", pictures=photos)
    for _ in range(2):
        command("push", results=tmp_path / "vitpose.json", data=tmp_path / "data.json", images=photos)
    tasks = tasks_of(client, title)
    assert sorted(tasks) == sorted(NAMES)
    for name, task in tasks.items():
        assert client.fetch(task["data"]["image"]) == (photos / name).read_bytes()
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "vitpose"
        assert boxes_of(prediction) == (name != NAMES[0])  # the doubtful ones are left out


def test_a_push_of_nothing_asks_what_to_push(command: Any, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="name what to push"):
        command("push", results=tmp_path / "vitpose.json")


def test_an_address_that_is_given_may_lack_its_slash(
    client: LabelStudio, command: Any, photos: Path, tmp_path: Path, title: str
) -> None:
    command("init", pictures=photos)
    command("push", prelabel(photos, tmp_path / "out"), serve_from=f"/data/local-files/?d={photos.name}")
    command("push", tmp_path / "out")
    for name, task in tasks_of(client, title).items():
        assert client.fetch(task["data"]["image"]) == (photos / name).read_bytes()


def test_the_next_task_is_the_one_that_was_selected(
    photos: Path, tmp_path: Path, title: str, client: LabelStudio, command: Callable[..., None]
) -> None:
    command("init", pictures=photos)
    command("push", prelabel(photos, tmp_path / "out"))
    project = client.find_project(title)
    assert project is not None
    numbers = {name: task["id"] for name, task in tasks_of(client, title).items()}
    client.submit_annotation(numbers["q?.jpg"], [])
    assert annotated_names(client, project["id"]) == {"q?.jpg"}

    for order in (["frame:01.jpg", "cam1/0001.jpg", "not there.jpg"], ["a#1+&.jpg", "cam2/0001.jpg"]):
        done = set_order(client, project["id"], order)
        assert (done.tasks, done.missing) == (2, tuple(order[2:]))
        scores = {task["predictions"][0]["score"]: name for name, task in tasks_of(client, title).items()}
        assert [scores[score] for score in sorted(scores)][:2] == order[:2]
        assert client.next_task(project["id"])["data"]["file_name"] == order[0]
        client.submit_annotation(numbers[order[0]], [])


def test_an_image_that_label_studio_found_is_known_by_its_name(
    client: LabelStudio, command: Any, photos: Path, title: str
) -> None:
    command("init", pictures=photos)
    project = client.find_project(title)["id"]
    address = f"/data/local-files/?d={photos.name}/cam1/0001.jpg"
    (task,) = client.import_tasks(project, [{"data": {"image": address}}])
    client.submit_annotation(task, [])
    assert annotated_names(client, project) == {"cam1/0001.jpg"}


def test_a_mistyped_folder_changes_nothing(
    client: LabelStudio, command: Any, photos: Path, tmp_path: Path, title: str
) -> None:
    command("init", pictures=photos)
    command("push", prelabel(photos, tmp_path / "out"))
    with pytest.raises(AssertionError, match=r"there are no pre-labels in .*uot"):
        command("push", tmp_path / "uot")
    assert client.find_project(title)["model_version"] == "v1"


def test_another_image_of_a_known_name_is_refused(command: Any, photos: Path, tmp_path: Path) -> None:
    command("init", pictures=photos)
    command("push", prelabel(photos / "cam1", tmp_path / "one"))
    with pytest.raises(AssertionError, match=r"is called 0001\.jpg, too, and shows .*cam1/0001\.jpg, not .*cam2"):
        command("push", prelabel(photos / "cam2", tmp_path / "two"))


def test_an_image_replaced_under_its_name_gets_its_new_prediction(
    client: LabelStudio, command: Any, photos: Path, tmp_path: Path, title: str, caplog: pytest.LogCaptureFixture
) -> None:
    command("init", pictures=photos)
    command("push", prelabel(photos, tmp_path / "one"))
    before = tasks_of(client, title)
    client.submit_annotation(before["q?.jpg"]["id"], [])
    for name in ("q?.jpg", NAMES[0]):
        Image.new("RGB", (80, 48)).save(photos / name)
    command("push", prelabel(photos, tmp_path / "two"), json=tmp_path / "pushed.json")
    pushed = json.loads((tmp_path / "pushed.json").read_text())
    assert pushed == {"tasks": 0, "predictions": 0, "replaced": 2, "unchanged": len(NAMES) - 2}
    for name, task in tasks_of(client, title).items():
        (prediction,), (old,) = task["predictions"], before[name]["predictions"]
        is_replaced = name in ("q?.jpg", NAMES[0])
        assert boxes_of(prediction) == (80 - 63 if is_replaced else NAMES.index(name) + 1)
        assert (prediction["result"] != old["result"]) == is_replaced
    assert caplog.text.count("was annotated before its image") == 1
    assert "before its image q?.jpg was replaced" in caplog.text


@pytest.mark.parametrize("refused", ["pictures", "backend"])
def test_a_refused_init_tells_what_to_set_and_leaves_no_project(
    client: LabelStudio, command: Any, tmp_path: Path, title: str, refused: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    value, told = (tmp_path, "DOCUMENT_ROOT") if refused == "pictures" else ("http://127.0.0.1:9", "BLOCK_LOCAL_IP")
    with pytest.raises(AssertionError, match=told):
        command("init", **{refused: value})
    assert client.find_project(title) is None


def test_a_second_init_for_other_keypoints_is_refused(command: Any, tmp_path: Path) -> None:
    command("init")
    other = Skeleton("other", ("tail", "nose"), (0.1, 0.1))
    save_model(tmp_path / "other", ClickPose(tiny(2)), other, metrics={}, card="")
    with pytest.raises(AssertionError, match="no tail of skeleton 'other'"):
        command("init", model=tmp_path / "other")


def test_annotations_of_images_that_label_studio_found_or_got_have_the_same_names(
    client: LabelStudio, command: Any, photos: Path, tmp_path: Path, title: str
) -> None:
    command("init", pictures=photos)
    project = client.find_project(title)["id"]
    result = make_prediction([pose((64, 48))], SKELETON, (64, 48), model_version="v1")["result"]
    addresses = [f"/data/local-files/?d={photos.name}/cam1/0001.jpg", f"/data/upload/{project}/1f-a.jpg"]
    for task in client.import_tasks(project, [{"data": {"image": address}} for address in addresses]):
        client.submit_annotation(task, result)
    for _ in range(2):
        command("sync", store=tmp_path / "store", json=tmp_path / "sync.json")
    store = Store(tmp_path / "store")
    snapshot = load_snapshot(store, str(current_snapshot(store)))
    names = [image.file_name for image in snapshot.annotations.images]
    assert names == ["cam1/0001.jpg", f"data/upload/{project}/1f-a.jpg"]
    assert json.loads((tmp_path / "sync.json").read_text())["left_out"] == []


def test_a_project_may_call_its_image_as_it_likes(
    client: LabelStudio, command: Any, photos: Path, tmp_path: Path, title: str
) -> None:
    project = client.create_project(title, labelling_interface(SKELETON, image_key="photo"))["id"]
    client.add_local_files(project, str(photos))
    command("push", prelabel(photos, tmp_path / "out"))
    (task,) = [task for task in client.tasks(project) if task["data"]["file_name"] == "q?.jpg"]
    assert task["data"]["photo"].startswith("/data/local-files/")
    bare = client.import_tasks(project, [{"data": {"photo": f"/data/local-files/?d={photos.name}/cam1/0001.jpg"}}])
    for number in (task["id"], *bare):
        client.submit_annotation(number, [])
    command("sync", store=tmp_path / "store", json=tmp_path / "sync.json")
    assert json.loads((tmp_path / "sync.json").read_text())["pictures"] == 2


def test_an_uploaded_image_can_be_learnt_from(
    client: LabelStudio, label_studio: LabelStudioServer, command: Any, title: str, model: Path, tmp_path: Path
) -> None:
    command("init")
    project = client.find_project(title)["id"]
    Image.new("RGB", (64, 48), "red").save(tmp_path / "ü 1.png")
    with (tmp_path / "ü 1.png").open("rb") as file:
        headers = {"Authorization": f"Token {label_studio.token}"}
        url = f"{label_studio.url}/api/projects/{project}/import"
        httpx.post(url, files={"file": file}, headers=headers).raise_for_status()
    (task,) = client.tasks(project)
    lost = client.import_tasks(project, [{"data": {"image": "/data/upload/9/gone.png", "width": 9, "height": 9}}])
    client.submit_annotation(task["id"], [])
    client.submit_annotation(lost[0], [])

    store = Store(tmp_path / "store")
    collected = collect(Project(label_studio.url, title, str(tmp_path / "none")), model, store, fetch=True)
    (image,) = collected.annotations.images
    assert image.size_wh == (64, 48)
    assert ImageFolder(f"{tmp_path}/none\n{store.uri_of(FETCHED)}")(image).getpixel((0, 0)) == (255, 0, 0)
    (sentence,) = collected.left_out
    assert sentence.startswith(f"task {lost[0]}: ")
