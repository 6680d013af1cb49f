"""Pixels in, pixels out: encode an image once, detect its persons, refine them click by click.

The predictor has weights and no other state; the data of an image or an annotation are values that the caller keeps, so
one predictor serves any number of annotators and batch workers. The method comes in two forms behind
this one interface: the published one (``clickpose.whole_image``), and the person's frame (``clickpose.person_frame``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clickpose.annotations import Click, Floats, Pose
from clickpose.checkpoints.model_folder import Network, load_model
from clickpose.clicks import apply_clicks, check_box, check_place
from clickpose.encoded import EncodedImage
from clickpose.errors import ImageError
from clickpose.expected_clicks import expected_clicks
from clickpose.first_guess.networks import make_finder
from clickpose.model import ClickPose
from clickpose.person_frame.person_frame import PersonFrame
from clickpose.poses import SAME_PERSON_IOU
from clickpose.skeleton import Skeleton
from clickpose.whole_image import WholeImage

ImageLike: TypeAlias = Image.Image | NDArray[np.uint8]
__all__ = ["EncodedImage", "Form", "ImageLike", "Predictor"]


class Form(Protocol):
    """What the two forms of the method do differently."""

    network: Any
    config: Any
    device: torch.device

    def encode(self, image: Image.Image) -> Any:
        """Look at an RGB image."""

    def encode_all(self, images: Sequence[Image.Image]) -> Sequence[Any]:
        """Look at several RGB images."""

    def hypotheses(self, encoded: Any) -> list[Pose]:
        """Return every pose that was found, best first; several may show one person."""

    def detect(self, encoded: Any, min_score: float | None, max_overlap: float) -> list[Pose]:
        """Return the persons that are shown, best first."""

    def follow(self, encoded: Any, shown: Sequence[Pose], placed: Sequence[Pose], clicked: Set[int]) -> list[Pose]:
        """Return all poses: those of clicked persons after a round that started from how they were ``placed``."""

    def published_round(self, encoded: Any, placed: Sequence[Pose], clicked: Set[int]) -> list[Pose]:
        """Return all poses after a round with every person, clicked or not."""

    def missed(self, encoded: Any, shown: Sequence[Pose]) -> list[float]:
        """Return, for each possible person who is not shown, the chance that there is one."""

    def appearance(self, encoded: Any, shown: Sequence[Pose]) -> tuple[float, ...]:
        """Return what the persons shown look like, in a few numbers; none if that is not known."""

    def person_in(self, encoded: Any, box_px: Floats) -> Pose:
        """Return the person in a box that lies in the image."""

    def person_at(self, encoded: Any, shown: Sequence[Pose], keypoint: int, xy_px: Floats) -> Pose:
        """Return the person, not shown yet, who has a keypoint at a place."""


class Predictor:
    """Encode, detect, refine; every coordinate in and out is in pixels of the image.

    Args:
        network: on its device. Training it further changes no answer.
        skeleton: of K keypoints, in the model's order.
        version: the model's name in every answer.
        keep: precision of what an ``EncodedImage`` keeps of the published form's memory; ``torch.float16`` takes half
            the memory and moves keypoints by hundredths of a pixel. Coordinates and all arithmetic stay float32.
    """

    def __init__(
        self, network: Network, skeleton: Skeleton, version: str = "", *, keep: torch.dtype = torch.float32
    ) -> None:
        self.form = make_form(network, skeleton, keep)
        self.network, self.config, self.device = self.form.network, self.form.config, self.form.device
        self.skeleton, self.version = skeleton, version

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str = "auto",
        version: str | None = None,
        *,
        keep: torch.dtype = torch.float32,
    ) -> Predictor:
        """Load a model folder; ``device`` "auto" uses a GPU if there is one.

        Raises:
            InvalidModel: the folder is incomplete or its weights do not fit.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        loaded = load_model(folder)
        return cls(
            loaded.network.to(device), loaded.skeleton, version or os.path.basename(os.path.abspath(folder)), keep=keep
        )

    @torch.inference_mode()
    def encode(self, image: ImageLike) -> EncodedImage:
        """Look at an image: an upright RGB ``PIL.Image`` or uint8 ``(H, W, 3)``. The only costly call.

        Raises:
            ImageError: it is neither.
        """
        encoded: EncodedImage = self.form.encode(_as_pil(image))
        return encoded

    @torch.inference_mode()
    def encode_all(self, images: Sequence[ImageLike]) -> list[EncodedImage]:
        """Encode several images; a model in the person's frame looks at all their persons together. See ``encode``."""
        return list(self.form.encode_all([_as_pil(image) for image in images]))

    @torch.inference_mode()
    def detect(
        self, encoded: EncodedImage, *, min_score: float | None = None, max_overlap: float = SAME_PERSON_IOU
    ) -> list[Pose]:
        """Return the poses of all persons, best first.

        Args:
            encoded: the image.
            min_score: leave out lower scores; None for the model's own threshold.
            max_overlap: of two boxes with a higher IoU only the better is kept, and its score takes in the other as
                far as they agree.
        """
        return self.form.detect(encoded, min_score, max_overlap)

    @torch.inference_mode()
    def hypotheses(self, encoded: EncodedImage) -> list[Pose]:
        """Return every pose that was found, best first; several may show one person. Boxes may cross the edge."""
        return self.form.hypotheses(encoded)

    def expected_clicks(self, encoded: EncodedImage, poses: Sequence[Pose]) -> float:
        """Return how many clicks the image is expected to take, with these persons shown; see ``expected_clicks``.

        As reliable as the model's scores: those of models in the person's frame are calibrated, others are not.
        """
        return expected_clicks(poses, self.form.missed(encoded, poses))

    def appearance(self, encoded: EncodedImage, poses: Sequence[Pose]) -> tuple[float, ...]:
        """Return what these persons look like, in a few numbers: images that look alike have similar ones.

        The mean of what a model in the person's frame saw in their crops, a number per channel; nothing is computed
        anew. Empty without a person, and for a model of the published form.
        """
        return self.form.appearance(encoded, poses)

    @torch.inference_mode()
    def refine(
        self, encoded: EncodedImage, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        """Apply clicks and let each clicked person's other keypoints follow; one round of the feedback loop.

        Args:
            encoded: the image.
            poses: as the annotator sees them; persons without a click come back as they are.
            clicks: any number, on any persons; of two clicks on one keypoint the later counts.
            hold: "all" keeps every keypoint a human ever placed exactly where it is, "current" those of this call,
                "none" uses clicks as a starting place only, as the published code does.

        Raises:
            InvalidClick: a click names no person or keypoint of this image, or lies outside it; nothing is changed.
        """
        placed = apply_clicks(poses, clicks, self.skeleton, encoded.size_wh, hold)
        return self.form.follow(encoded, poses, placed, {click.person for click in clicks}) if clicks else list(poses)

    @torch.inference_mode()
    def published_round(
        self, encoded: EncodedImage, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        """Run a round of the loop as published: with all persons, clicked or not.

        The published form takes their scores from this round instead of the first pass, and boxes may extend beyond
        the image. See ``refine`` for the arguments and errors.
        """
        placed = apply_clicks(poses, clicks, self.skeleton, encoded.size_wh, hold)
        return self.form.published_round(encoded, placed, {click.person for click in clicks}) if clicks else list(poses)

    @torch.inference_mode()
    def look_again(self, encoded: EncodedImage, poses: Sequence[Pose]) -> list[Pose]:
        """Return the poses after one more round with every person and without a click: what is unsure moves."""
        return self.form.published_round(encoded, poses, set()) if poses else []

    @torch.inference_mode()
    def add_person(self, encoded: EncodedImage, poses: Sequence[Pose], box_px: Sequence[float] | Floats) -> list[Pose]:
        """Append the person in a box ``x0, y0, x1, y1`` that a human drew around a missed person.

        Raises:
            InvalidClick: the box is empty, not finite, or outside the image.
        """
        return [*poses, self.form.person_in(encoded, check_box(box_px, encoded.size_wh))]

    @torch.inference_mode()
    def add_person_at(
        self, encoded: EncodedImage, poses: Sequence[Pose], keypoint: str | int, xy_px: tuple[float, float]
    ) -> list[Pose]:
        """Append the person whose keypoint a human placed where no person was shown; the keypoint is held.

        Raises:
            InvalidClick: there is no such keypoint, the place is outside the image, or the model finds no person there.
        """
        k = check_place(keypoint, xy_px, self.skeleton, encoded.size_wh)
        added = self.form.person_at(encoded, poses, k, np.asarray(xy_px, np.float32))
        return self.refine(encoded, [*poses, added], [Click(len(poses), k, xy_px)])


def make_form(network: Network, skeleton: Skeleton, keep: torch.dtype) -> Form:
    """Return the form of the method that a network belongs to."""
    if isinstance(network, ClickPose):
        return WholeImage(network, skeleton, keep)
    device = next(network.parameters()).device
    return PersonFrame(network, skeleton, make_finder(device), network.make_looker(device))


def _as_pil(image: ImageLike) -> Image.Image:
    if isinstance(image, Image.Image):
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"an image must be RGB uint8 of shape (H, W, 3), not {image.dtype} {image.shape}")
    return Image.fromarray(image)
