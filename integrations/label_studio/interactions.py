"""The annotator's last action, read from the request that Label Studio sends.

There are three kinds of requests, distinguished in this order by the region that triggered them:

    scripted   a page script saw a point move: the context names it in ``moved`` and contains the whole screen
    drawn      a smart tool drew something: a point that has ``is_positive`` (false with Alt: absent) and no
               ``parentID``, or a box whose id is not ours
    dynamic    a prediction marked "dynamic" was dragged: its origin is prediction-changed

Unless scripted, the context contains only the regions with the same label. The others are known from drafts, which lag
by seconds: what is only known from a draft must not be sent back as current.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from clickpose.errors import InvalidAnnotation, InvalidClick
from clickpose.skeleton import Skeleton
from integrations.label_studio.edits import Edit, read_edit
from integrations.label_studio.interface import image_key_of
from integrations.label_studio.people import People, group_regions
from integrations.label_studio.points import read_regions
from integrations.label_studio.regions import RegionIds, parse_id
from integrations.label_studio.schemas import Context, PredictRequest, RawRegion, Region, SavedResult, Task
from integrations.label_studio.service import Screen

Kind = Literal["scripted", "drawn", "dynamic"]


@dataclass(frozen=True)
class Trigger:
    """The region that triggered the request."""

    item: RawRegion
    kind: Kind

    @property
    def id(self) -> str:
        """Its id: random if it was drawn; such a region disappears when the answer arrives."""
        return str(self.item["id"])


@dataclass(frozen=True)
class Interaction:
    """An edit, the screen it was made on, and how the answer must fit on that screen.

    Attributes:
        screen: for the service.
        edit: for the service.
        people: all persons known to be, or to have been, on the screen.
        ids: the regions on the screen.
        present: numbers of the persons on the screen; None when the answer must contain all persons.
    """

    screen: Screen
    edit: Edit
    people: People
    ids: RegionIds
    present: frozenset[int] | None


def read_interaction(request: PredictRequest, skeleton: Skeleton, image_key: str) -> Interaction:
    """Read the annotator's action from a request.

    Raises:
        InvalidAnnotation: the task has no image, or no region of the context is an edit.
        InvalidClick: the edit has an unknown label, or lies outside the image.
    """
    task, context = request.tasks[0], _with_held_marks(request.params.context or Context())
    trigger = find_trigger(context)
    if trigger is None:
        raise InvalidAnnotation("no region of the context looks like an edit")
    shown = read_regions(_others(context, trigger))
    saved = shown if trigger.kind == "scripted" else read_regions(saved_result(task, context.result))
    people = group_regions(saved.overlaid(shown), skeleton)
    saved_people = people if saved is shown else group_regions(saved, skeleton)
    present = frozenset(n for n, person in people.persons.items() if person.ids() & shown.ids)
    session, earlier_session = session_names(request)
    screen = Screen(
        session=session,
        image_url=image_url_of(task, image_key, request.label_config),
        saved=saved_people.poses(skeleton),
        fresh=people.seen(shown.ids - {trigger.id}),
        earlier_session=earlier_session,
    )
    return Interaction(
        screen=screen,
        edit=read_edit(_parse(trigger), people, skeleton, context.focus),
        people=people,
        ids=people.ids(skeleton),
        present=present if present and trigger.kind != "dynamic" else None,
    )


def unchanged_result(request: PredictRequest) -> list[RawRegion]:
    """Return the answer that leaves the screen as it is and removes the click that failed.

    It repeats what the screen itself contained, and nothing older. Only a dynamic prediction needs all persons, because
    the browser deletes every dynamic region that is not in an answer.
    """
    context = request.params.context or Context()
    trigger = find_trigger(context)
    if trigger is not None and trigger.kind == "dynamic":
        return overlay(saved_result(request.tasks[0], context.result), context.result)
    return _others(context, trigger)


def find_trigger(context: Context) -> Trigger | None:
    """Return the region that triggered the request, or None."""
    points = [item for item in context.result if item.get("type") == "keypointlabels"]
    scripted = [item for item in points if context.moved and item["id"] == context.moved]
    drawn = [item for item in points if item.get("is_positive") is not None and _is_strange(item)]
    boxes = [item for item in context.result if item.get("type") == "rectanglelabels" and _is_strange(item)]
    dynamic = [item for item in points if item.get("origin") == "prediction-changed"]
    kinds: list[tuple[Kind, list[RawRegion]]] = [
        ("scripted", scripted),
        ("drawn", drawn),
        ("drawn", boxes),
        ("dynamic", dynamic),
    ]
    return next((Trigger(items[-1], kind) for kind, items in kinds if items), None)


def saved_result(task: Task, seen: Sequence[RawRegion]) -> list[RawRegion]:
    """Return the regions of an annotator's screen that were saved last.

    That is her own draft, the only one that a request contains. Without one it is the annotation or prediction that
    agrees most with the screen; there may be several, by other annotators and models.

    Args:
        task: with everything saved for it.
        seen: regions that are on the screen.
    """
    if task.drafts:
        return max(task.drafts, key=_saved_at).result
    annotations = [one for one in task.annotations if not one.was_cancelled]
    saved = sorted(annotations, key=_saved_at, reverse=True) + sorted(task.predictions, key=_saved_at, reverse=True)
    if len(saved) == 1:
        return saved[0].result  # to compare it with the screen takes longer than all else on a large one
    places = _places(seen)
    likeliest = max(saved, key=lambda one: len(places & _places(one.result)), default=None)
    return likeliest.result if likeliest else []


def overlay(result: Sequence[RawRegion], newer: Sequence[RawRegion]) -> list[RawRegion]:
    """Return a result in which the regions of a newer one replace those with the same id."""
    replaced = {item["id"] for item in newer}
    return [item for item in result if item["id"] not in replaced] + list(newer)


def session_names(request: PredictRequest) -> tuple[str, str]:
    """Return the session's name, and the one it had while the user was unknown (empty if it still is).

    Label Studio identifies the user only in drafts, and the first one is saved seconds after the first click.
    """
    task = request.tasks[0]
    anonymous = f"{request.project}/{task.id}/"
    user = next((draft.user for draft in task.drafts if draft.user), None)
    return (f"{anonymous}{user}", anonymous) if user else (anonymous, "")


def image_url_of(task: Task, image_key: str, interface: str | None = None) -> str:
    """Return the address of a task's image: under this key, else the one that the project's interface shows.

    Raises:
        InvalidAnnotation: it has none.
    """
    if not task.data.get(image_key) and interface:
        image_key = image_key_of(interface)
    if not task.data.get(image_key):
        raise InvalidAnnotation(f"the task's data have no {image_key!r}")
    return str(task.data[image_key])


def _saved_at(saved: SavedResult) -> str:
    return saved.updated_at or ""


def _places(result: Sequence[RawRegion]) -> set[tuple[str, float, float]]:
    """Return the rounded places of the points and boxes of a result."""
    regions = read_regions(result).drawn
    return {(region.id, round(region.value.x, 3), round(region.value.y, 3)) for region in regions}


def _others(context: Context, trigger: Trigger | None) -> list[RawRegion]:
    """Return the regions on the screen, without one that was only drawn for the request."""
    drawn_id = trigger.id if trigger is not None and trigger.kind == "drawn" else None
    return [item for item in context.result if item["id"] != drawn_id]


def _is_strange(item: RawRegion) -> bool:
    return not item.get("parentID") and parse_id(item["id"]) is None


def _with_held_marks(context: Context) -> Context:
    """Return the context with ``meta.held`` on every region that a page script lists as held."""
    held = set(context.held)
    marked = [
        item | {"meta": {**(item.get("meta") or {}), "held": True}} if item["id"] in held else item
        for item in context.result
    ]
    return context.model_copy(update={"result": marked})


def _parse(trigger: Trigger) -> Region:
    try:
        return Region.model_validate(trigger.item)
    except ValidationError as error:
        raise InvalidClick(f"region {trigger.id} is malformed: {error.errors()[0]['msg']}") from error
