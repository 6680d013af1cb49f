"""Whatever a value of a file is replaced by, the file is read, or the error is one of ours."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clickpose.annotations import AnnotatedImage, AnnotationSet
from clickpose.errors import ClickPoseError
from clickpose.skeleton import Skeleton
from integrations.coco import read_coco
from integrations.coco_results import read_results
from integrations.label_studio.export import once_per_image, read_export
from pipeline.listing import find_images

ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    1e308,
    2**70,
    "",
    "x",
    "5",
    "\ud800",
    [],
    {},
    [1],
    {"a": 1},
    [[1]],
]
STICK = Skeleton("stick", ("a", "b"), (0.1, 0.1))
SIZE = {"original_width": 640, "original_height": 480, "to_name": "image"}
POINT = {"id": "k", "type": "keypointlabels", "value": {"x": 30.0, "y": 40.0, "keypointlabels": ["a"]}, "parentID": "b"}
BOX = {
    "id": "b",
    "type": "rectanglelabels",
    "value": {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": ["person"]},
}
CHOICE = {"id": "k", "type": "choices", "value": {"choices": ["occluded"]}}
ANNOTATION = {"id": 7, "result": [BOX | SIZE, POINT | SIZE, CHOICE], "lead_time": 3.5, "was_cancelled": False}
TASKS = [{"id": 1, "data": {"image": "/data/upload/1/a.jpg", "width": 640, "height": 480}, "annotations": [ANNOTATION]}]
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "width": 64, "height": 48}],
    "annotations": [
        {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "keypoints": [5, 6, 2, 3, 4, 1]}
    ],
    "categories": [{"id": 1, "name": "stick", "keypoints": ["a", "b"], "skeleton": [[1, 2]]}],
}
RESULTS = [{"image_id": 1, "category_id": 1, "keypoints": [1, 2, 0.9, 3, 4, 0.8], "score": 0.5, "bbox": [1, 2, 3, 4]}]
SKELETON = STICK.to_dict() | {"links": [["a", "b"]], "flip_pairs": [[0, 1]], "parents": {"a": "b"}}
NAMES = [{"image": "a.jpg"}, {"data": {"image": "b.jpg"}}, "c.jpg"]
DATA = AnnotationSet(STICK, (AnnotatedImage(1, "a.jpg", (64, 48)),))


def paths(node: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every value below a value is."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inside:
        yield (*here, key)
        yield from paths(value, (*here, key))


def with_odd_values(content: Any, rng: random.Random) -> Any:
    """A copy in which one to three values are replaced."""
    changed = copy.deepcopy(content)
    for _ in range(rng.randint(1, 3)):
        if there := list(paths(changed)):
            *above, last = rng.choice(there)
            holder = changed
            for key in above:
                holder = holder[key]
            holder[last] = copy.deepcopy(rng.choice(ODD))
    return changed


def read_tasks(path: Path) -> None:
    once_per_image(read_export(json.loads(path.read_text()), STICK))


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (TASKS, read_tasks),
        (COCO, read_coco),
        (COCO, lambda path: read_coco(path, skip_bad=True)),
        (RESULTS, lambda path: read_results(path, DATA)),
        (SKELETON, Skeleton.load),
        (NAMES, find_images),
    ],
    ids=["export", "coco", "coco without bad records", "results", "skeleton", "names"],
)
def test_an_odd_value_is_read_or_refused_with_a_sentence(
    content: Any, read: Callable[[Path], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # half a character in a log line stops the processes that share the tests
    rng, path = random.Random(0), tmp_path / "odd.json"
    for _ in range(400):
        path.write_text(json.dumps(with_odd_values(content, rng)))
        with contextlib.suppress(ClickPoseError):
            read(path)
