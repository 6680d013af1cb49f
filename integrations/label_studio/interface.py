"""The labelling interface of a skeleton: the XML that defines what can be labelled, and with which keys."""

from __future__ import annotations

from itertools import chain, repeat
from xml.etree import ElementTree

from clickpose.skeleton import Skeleton

POINT_TAG, BOX_TAG, VISIBILITY_TAG, IMAGE_TAG = "kp", "box", "visibility", "image"
PERSON_LABEL = "person"
VISIBILITY_CHOICES = ("absent", "occluded", "visible")  # in the order of COCO's 0, 1, 2

SMART = {"smart": "true", "smartOnly": "true"}

PERSON_HOTKEY = "p"
VISIBILITY_HOTKEYS = {"visible": "z", "occluded": "x", "absent": "c"}
# The editor keeps r, k, v, h, m for its tools and u to unselect. Keypoints beyond these are picked with the mouse.
KEYPOINT_HOTKEYS = "1234567890qwetasdfgyiojlbn"

HINT = (
    "Auto-Annotation on. K, a keypoint's key, Ctrl-click where it belongs: the others follow; with Alt it is absent. "
    "R, P, Ctrl-drag: a missing person. Esc unselects."  # with a region selected, a keypoint's key changes its label
)
HINT_STYLE = "font-size: 13px; font-weight: 400; line-height: 18px"

MIDDLE_COLOUR, LEFT_COLOUR, RIGHT_COLOUR, BOX_COLOUR = "#27ae60", "#2d9cdb", "#eb5757", "#f5a623"


def labelling_interface(skeleton: Skeleton, *, image_key: str = "image") -> str:
    """Return the labelling interface of a skeleton as XML.

    A line at the top explains how to place a keypoint. There are smart tools only, selected with K and R: an ordinary
    point would not be sent to the model. So nothing can be drawn without auto-annotation. The choice of visibility is
    above the image, because it would be overlooked below.

    Args:
        skeleton: its keypoints become labels, each with a hotkey as long as there are keys.
        image_key: the key of a task's data that holds the image.
    """
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", {"value": HINT, "style": HINT_STYLE})
    _add_points(view, skeleton)
    _add_boxes(view)
    _add_visibility(view)
    image = {"name": IMAGE_TAG, "value": f"${image_key}", "zoom": "true", "zoomControl": "true"}
    ElementTree.SubElement(view, "Image", image)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def image_key_of(interface: str, default: str = "image") -> str:
    """Return the key of a task's data that an interface, ours or another one, shows as the image."""
    try:
        tags = list(ElementTree.fromstring(interface).iter("Image"))
    except ElementTree.ParseError:
        return default
    values = {tag.get("name"): tag.get("value", "") for tag in tags}
    shown = values.get(IMAGE_TAG) or next(iter(values.values()), "")
    return shown.removeprefix("$") or default


def _add_points(view: ElementTree.Element, skeleton: Skeleton) -> None:
    attributes = SMART | {"strokeWidth": "4", "opacity": "0.9"}
    control = _control(view, "KeyPointLabels", POINT_TAG, attributes)
    hotkeys = chain(KEYPOINT_HOTKEYS, repeat(None))
    for index, (keypoint, hotkey) in enumerate(zip(skeleton.keypoints, hotkeys, strict=False)):
        label = {"value": keypoint, "background": _colour(skeleton, index), "model_index": str(index)}
        ElementTree.SubElement(control, "Label", label | ({"hotkey": hotkey} if hotkey else {}))


def _add_boxes(view: ElementTree.Element) -> None:
    attributes = SMART | {"strokeWidth": "1", "fillOpacity": "0", "canRotate": "false"}
    control = _control(view, "RectangleLabels", BOX_TAG, attributes)
    label = {"value": PERSON_LABEL, "background": BOX_COLOUR, "hotkey": PERSON_HOTKEY}
    ElementTree.SubElement(control, "Label", label)


def _add_visibility(view: ElementTree.Element) -> None:
    attributes = {"perRegion": "true", "whenTagName": POINT_TAG, "choice": "single", "showInline": "true"}
    control = _control(view, "Choices", VISIBILITY_TAG, attributes)
    for choice, hotkey in VISIBILITY_HOTKEYS.items():
        ElementTree.SubElement(control, "Choice", {"value": choice, "hotkey": hotkey})


def _control(view: ElementTree.Element, tag: str, name: str, attributes: dict[str, str]) -> ElementTree.Element:
    return ElementTree.SubElement(view, tag, {"name": name, "toName": IMAGE_TAG} | attributes)


def _colour(skeleton: Skeleton, index: int) -> str:
    if any(index == left for left, _ in skeleton.flip_pairs):
        return LEFT_COLOUR
    if any(index == right for _, right in skeleton.flip_pairs):
        return RIGHT_COLOUR
    return MIDDLE_COLOUR
