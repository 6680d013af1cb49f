"""What Label Studio sends: regions of an annotation, and the bodies of the ML-backend protocol.

Only fields that are used are named; all others are accepted, because new versions of Label Studio add fields.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

MAX_PERSONS = 10_000  # in one image
MAX_SIDE_PX = 10**6
MAX_TASKS = 10_000  # of one request; Label Studio sends a hundred

RawRegion = dict[str, Any]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]  # a percentage or a score: no real value comes near
Side = Annotated[int, Field(gt=0, le=MAX_SIDE_PX)]


def clean_regions(items: Any) -> list[RawRegion]:
    """Return the records of a ``result`` list that have an id; the list may be null."""
    records = items if isinstance(items, list) else []
    return [item for item in records if isinstance(item, dict) and isinstance(item.get("id"), str)]


Regions = Annotated[list[RawRegion], PlainValidator(clean_regions, json_schema_input_type=list[RawRegion])]


class RegionValue(BaseModel):
    """The place of a region, in percent of the image's width and height, and its label.

    A box may be turned: by ``rotation`` degrees, clockwise around its first corner.
    """

    x: Number
    y: Number
    width: Number = 0.0
    height: Number = 0.0
    rotation: Number | None = None
    keypointlabels: tuple[str, ...] = ()
    rectanglelabels: tuple[str, ...] = ()


class RegionMeta(BaseModel):
    """Our data in a region; it survives drafts, submission and export.

    Attributes:
        person: the person's number.
        held: a human placed this keypoint.
        at: x and y in percent and the visibility of our answer; a region elsewhere was moved by hand.
        skeleton: on a box, the skeleton whose keypoints were shown; a missing one was deleted by hand.
        model: on a box, the model version that placed this person's keypoints.
    """

    model_config = ConfigDict(extra="ignore")

    person: Annotated[int, Field(ge=0, lt=MAX_PERSONS)] | None = None
    held: bool = False
    at: tuple[Number, Number, int] | None = None
    skeleton: str = ""
    model: str = ""


class Region(BaseModel):
    """A point or a box of a result."""

    id: str
    type: str
    value: RegionValue
    original_width: Side
    original_height: Side
    parent_id: str | None = Field(None, alias="parentID")
    score: Number | None = None
    origin: str | None = None
    is_positive: bool | None = None
    meta: Annotated[RegionMeta, BeforeValidator(lambda value: value or {})] = RegionMeta()


class SavedResult(BaseModel):
    """A draft, an annotation or a prediction of a task."""

    result: Regions = []
    user: Any = None
    was_cancelled: bool | None = None
    updated_at: str | None = None


Saved = Annotated[list[SavedResult], BeforeValidator(lambda value: value or [])]


class Task(BaseModel):
    """A task as the backend receives it."""

    id: int | None = None
    data: dict[str, Any] = {}
    drafts: Saved = []
    annotations: Saved = []
    predictions: Saved = []


class Context(BaseModel):
    """The annotator's screen: regions, the one that a page script saw move, and the person in focus."""

    result: Regions = []
    moved: str | None = None
    focus: int | None = None
    held: list[str] = []


class Params(BaseModel):
    """The parameters of a prediction; without a context it is a batch, and no annotator is waiting."""

    context: Context | None = None


class PredictRequest(BaseModel):
    """The body of ``POST /predict``."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tasks": [{"id": 1, "data": {"image": "photos/one.jpg"}}]}]}
    )

    tasks: Annotated[list[Task], Field(max_length=MAX_TASKS)]
    project: str | int | None = None
    label_config: str | None = None
    params: Annotated[Params, BeforeValidator(lambda value: value or {})] = Params()


class WebhookEvent(BaseModel):
    """The body of ``POST /webhook``: an action and its data."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [{"action": "ANNOTATION_CREATED"}]})

    action: str
