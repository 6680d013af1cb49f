"""Before and after: persons of some images at first, after each click with a model's answers, and by hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clickpose.annotations import ABSENT, AnnotatedImage, AnnotationSet, PersonAnnotation, Pose
from clickpose.evaluation.click_style import PUBLISHED_STYLE, ClickStyle
from clickpose.evaluation.matching import labelled_persons
from clickpose.evaluation.plots import draw_poses
from clickpose.evaluation.predictors import ManualCorrection, PosePredictor
from clickpose.evaluation.rounds import loop_matches, play_rounds
from clickpose.evaluation.visits import Visit
from clickpose.oks import oks
from clickpose.skeleton import Skeleton

CAPTION_PX, GAP_PX = 32, 8
PAPER, INK = (255, 255, 255), (30, 30, 30)


@dataclass(frozen=True)
class Panel:
    """One state of an image's annotated persons, its title, and their mean OKS."""

    title: str
    poses: Sequence[Pose]
    mean_oks: float


@dataclass(frozen=True)
class Overlay:
    """The states of one image, side by side."""

    image: AnnotatedImage
    panels: tuple[Panel, ...]

    def draw(self, image: Image.Image, skeleton: Skeleton) -> Image.Image:
        """Draw each state on a copy of the image, under its title; white rings mark clicked keypoints."""
        width, height = image.size
        sheet = Image.new("RGB", ((width + GAP_PX) * len(self.panels) - GAP_PX, height + CAPTION_PX), PAPER)
        canvas, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=0.55 * CAPTION_PX)
        for index, panel in enumerate(self.panels):
            left = index * (width + GAP_PX)
            sheet.paste(draw_poses(image, panel.poses, skeleton), (left, CAPTION_PX))
            title = f"{panel.title}: OKS {panel.mean_oks:.2f}"
            canvas.text((left + GAP_PX, CAPTION_PX / 2), title, INK, font, anchor="lm")
        return sheet


class OverlayMeter:
    """Keeps the states of some images; their rounds are those of the click curve."""

    def __init__(
        self,
        predictor: PosePredictor,
        image_ids: Collection[int],
        num_clicks: int,
        style: ClickStyle = PUBLISHED_STYLE,
    ) -> None:
        """Show images before and after each of ``num_clicks`` clicks on each person."""
        self.skeleton, self.image_ids, self.num_clicks, self.style = predictor.skeleton, image_ids, num_clicks, style
        self.overlays: list[Overlay] = []

    def visit(self, visit: Visit) -> None:
        """Keep one image, if it is one of them."""
        if visit.image.id not in self.image_ids:
            return
        rounds = play_rounds(visit.predictor, visit, self.style)
        manual = play_rounds(ManualCorrection(visit.predictor), visit, self.style)
        states = [now.poses for now in islice(rounds, self.num_clicks + 1)]
        by_hand = next(islice(manual, self.num_clicks, None)).poses
        panels = [("first pass", states[0])]
        panels += [(f"{_clicks(n)}, model answers", poses) for n, poses in enumerate(states[1:], start=1)]
        panels.append((f"{_clicks(self.num_clicks)}, by hand", by_hand))
        self.overlays.append(Overlay(visit.image, tuple(self._panel(visit, *panel) for panel in panels)))

    def absorb(self, other: OverlayMeter) -> None:
        """Add the images of another meter behind our own."""
        self.overlays += other.overlays

    def _panel(self, visit: Visit, title: str, poses: Sequence[Pose]) -> Panel:
        skeleton, persons = self.skeleton, labelled_persons(visit.image)
        matched = [(poses[index], persons[person]) for index, person in loop_matches(visit, skeleton).items()]
        similarity = [oks(pose.keypoints_px, person, skeleton.sigmas) for pose, person in matched]
        shown = [_labelled_keypoints(pose, person) for pose, person in matched]
        return Panel(title, shown, float(np.mean(similarity)) if similarity else 0.0)


def _clicks(count: int) -> str:
    return f"{count} {'click' if count == 1 else 'clicks'} per person"


def _labelled_keypoints(pose: Pose, person: PersonAnnotation) -> Pose:
    """Return the pose without the keypoints that have no label."""
    return replace(pose, visibility=np.where(person.visibility > 0, pose.visibility, ABSENT))


def choose_images(annotations: AnnotationSet, count: int) -> list[int]:
    """Return the ids of up to ``count`` images with labelled persons, spread evenly over the data set."""
    ids = [image.id for image in annotations.images if labelled_persons(image)]
    return [ids[index] for index in sorted({i * len(ids) // count for i in range(count)})] if ids else []
