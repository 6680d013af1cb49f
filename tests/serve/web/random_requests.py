"""Random requests: most are nearly valid, some are nonsense."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from clickpose.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")
Draw = Callable[[st.SearchStrategy[Any]], Any]
BOX = ("rectanglelabels", "person")

numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -1, 1e30, 1e308, -1e309, 10**400, 50.0, 100.1]))
texts = st.one_of(
    st.text(max_size=20), st.sampled_from(["\ud800", "\0", "p0", "p1_nose", "p9999_nose", "nose", "%", "../x"])
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
bad_names = st.sampled_from(["broken.png", "missing.png", "/etc/passwd", "../one.png", "http://[", "//x/", ""])
names = st.sampled_from(["one.png", "two.jpg"]) | bad_names | values
places = st.floats(-1, 101) | st.floats(0, 100) | st.sampled_from([0, 50.0, 100])


@st.composite
def drawn(draw: Draw) -> dict[str, Any]:
    """A point or box as a smart tool draws it, sometimes on an image of another size."""
    kind, label = draw(st.sampled_from([("keypointlabels", name) for name in SKELETON.keypoints[:4]] + [BOX]))
    value = {"x": draw(places), "y": draw(places), "width": draw(places), "height": draw(places), kind: [label]}
    return {
        "id": "5wiJ5h1HMh",
        "type": kind,
        "value": value,
        "original_width": draw(st.sampled_from([160, 160, 160, 640])),
        "original_height": 120,
        "is_positive": draw(st.sampled_from([True, True, False])),
    }


def changed(draw: Draw, node: Any) -> Any:
    """The same value with one element replaced by another of its type, by anything, or removed."""
    if not isinstance(node, dict | list) or not node or draw(st.integers(0, 19)) == 0:
        is_number = isinstance(node, int | float) and not isinstance(node, bool)
        return draw(numbers if is_number and draw(st.booleans()) else values)
    node = copy.copy(node)
    key = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
    if draw(st.integers(0, 19)) == 0:
        del node[key]
    else:
        node[key] = changed(draw, node[key])
    return node


def each_number_replaced(node: Any, number: float) -> Iterator[Any]:
    """Copies of a value, each with another one of its numbers replaced."""
    if isinstance(node, dict | list):
        for key in node if isinstance(node, dict) else range(len(node)):
            for value in each_number_replaced(node[key], number):
                copied = copy.copy(node)
                copied[key] = value
                yield copied
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield number


@st.composite
def edits(draw: Draw, shown: list[dict[str, Any]]) -> dict[str, Any]:
    """An edit as Label Studio sends it, with up to three errors."""
    wrong = draw(st.integers(0, 3))
    saved, seen = list(shown), [*draw(st.lists(st.sampled_from(shown), max_size=3)), draw(drawn())]
    for _ in range(wrong):
        part = draw(st.sampled_from([saved, seen]))
        at = draw(st.integers(0, len(part) - 1))
        part[at] = changed(draw, part[at])
    image = draw(names) if wrong == 3 else "one.png"
    where = draw(st.sampled_from(["predictions", "annotations", "drafts"]))
    task = {"id": draw(st.integers(0, 2)), "data": {"image": image}, where: [{"result": saved, "user": 1}]}
    context = {"result": seen, "moved": draw(st.none() | st.sampled_from([item["id"] for item in shown]))}
    body = {"tasks": [task], "project": "1.1", "params": {"context": context}}
    return changed(draw, body) if wrong == 3 else body


@st.composite
def rest_bodies(draw: Draw, poses: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A request of a program that keeps the poses, with up to three errors."""
    kind, xy_px = draw(st.sampled_from(["refine", "add-person"])), [draw(places), draw(places)]
    click = {"person": draw(st.integers(0, 2)), "keypoint": draw(st.integers(0, 20)), "xy_px": xy_px}
    body: dict[str, Any] = {"image": "one.png", "poses": copy.deepcopy(poses)}
    body |= {"clicks": [click]} if kind == "refine" else {"box_px": [5, 5, *xy_px]}
    for _ in range(draw(st.integers(0, 3))):
        body = changed(draw, body)
    return f"/v1/{kind}", body
