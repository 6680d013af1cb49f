"""Pixels in, pixels out: encode a picture once, detect its persons, refine them click by click.

The predictor holds weights and nothing else; what belongs to a picture or to an annotation is a value that the
caller keeps, so one predictor serves any number of annotators and batch workers alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from clickpose.annotations import Click, Floats, Pose
from clickpose.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from clickpose.checkpoints.model_folder import load_model
from clickpose.clicks import apply_clicks, check_box
from clickpose.errors import ImageError
from clickpose.explanations import Explanation, explain, most_plausible
from clickpose.inference import prepare
from clickpose.model import ClickPose
from clickpose.model.click_pose import Persons, extend_to_clicks
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.model.inputs import input_size, to_tensor
from clickpose.model.proposals import PERSON_CLASS
from clickpose.poses import (
    SAME_PERSON_IOU,
    box_overlaps,
    drop_duplicates,
    keep_held,
    keep_inside,
    new_pose,
    score_by_agreement,
)
from clickpose.skeleton import Skeleton

Picture: TypeAlias = Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class EncodedImage:
    """What detect and refine need to know of a picture: its projected memory and who may be there, no pixels.

    Attributes:
        size_wh: width and height of the picture in pixels.
        values: memory as the pose layers see it.
        hypotheses: every pose that the first pass found, best first; several may show one person, and boxes may
            stick out of the picture.
    """

    size_wh: tuple[int, int]
    values: LayerValues
    hypotheses: tuple[Pose, ...]

    @cached_property
    def hypotheses_inside(self) -> tuple[Pose, ...]:
        """The hypotheses with boxes that end where the picture does."""
        return tuple(keep_inside(pose, self.size_wh) for pose in self.hypotheses)

    @property
    def num_bytes(self) -> int:
        """Memory it keeps, but for some numbers a person."""
        return sum(value.numel() * value.element_size() for value in self.values.values)


class Predictor:
    """Encode, detect, refine; every coordinate in and out is in pixels of the picture.

    Args:
        model: on its device; copied and rewritten for speed (``clickpose.inference``), so training it further
            changes no answer.
        skeleton: of K keypoints, in the model's order.
        version: what every answer of this model is labelled with.
        keep: precision of what an ``EncodedImage`` keeps of its picture; ``torch.float16`` takes half the memory and
            moves keypoints by hundredths of a pixel. Coordinates and all arithmetic stay float32.
    """

    def __init__(
        self, model: ClickPose, skeleton: Skeleton, version: str = "", *, keep: torch.dtype = torch.float32
    ) -> None:
        self.network, self.config = prepare(model), model.config
        self.skeleton, self.version, self.keep = skeleton, version, keep
        self.device = next(model.parameters()).device

    @classmethod
    def load(
        cls,
        folder: str | Path,
        device: str = "auto",
        version: str | None = None,
        *,
        keep: torch.dtype = torch.float32,
    ) -> Predictor:
        """Load a model folder; ``device`` "auto" takes a GPU where there is one.

        Raises:
            InvalidModel: the folder is incomplete or its weights do not fit.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        loaded = load_model(folder)
        return cls(loaded.network.to(device), loaded.skeleton, version or Path(folder).name, keep=keep)

    @torch.inference_mode()
    def encode(self, image: Picture) -> EncodedImage:
        """Look at a picture: an upright RGB ``PIL.Image`` or uint8 ``(H, W, 3)``. The only costly call.

        Raises:
            ImageError: it is neither.
        """
        picture = _as_pil(image)
        config = self.config
        resized = picture.resize(
            input_size(picture.size, config.short_side_px, config.long_side_px), Image.Resampling.BILINEAR
        )
        memory = self.network.encode(to_tensor(resized, config)[None].to(self.device))
        values = self.network.decoder.pose_values(memory).kept_as(self.keep)
        persons = self.network.find_persons(memory)
        return EncodedImage(picture.size, values, self._first_pass(persons, values, picture.size))

    @torch.inference_mode()
    def detect(
        self, encoded: EncodedImage, *, min_score: float | None = None, max_overlap: float = SAME_PERSON_IOU
    ) -> list[Pose]:
        """Return the poses of all persons, best first.

        Args:
            encoded: the picture.
            min_score: leave out lower scores; None for the model's own threshold.
            max_overlap: of two boxes with a higher IoU only the better is kept, and its score takes in the other as
                far as they agree; 1 keeps every hypothesis as it is, also where its box sticks out of the picture.
        """
        least = self.config.min_score if min_score is None else min_score
        hypotheses = encoded.hypotheses if max_overlap >= 1 else encoded.hypotheses_inside
        sure = [pose for pose in hypotheses if pose.score >= least]
        if max_overlap >= 1:
            return sure
        return score_by_agreement(drop_duplicates(sure, max_overlap), hypotheses, self.skeleton.sigma_array)

    def hypotheses(self, encoded: EncodedImage) -> list[Pose]:
        """Return every pose that the first pass found, best first; several may show one person."""
        return self.detect(encoded, min_score=0.0, max_overlap=1.0)

    @torch.inference_mode()
    def refine(
        self,
        encoded: EncodedImage,
        poses: Sequence[Pose],
        clicks: Sequence[Click],
        *,
        hold: str = "all",
        rescore: bool = False,
    ) -> list[Pose]:
        """Apply clicks and let each clicked person's other keypoints follow; one round of the feedback loop.

        A model that reconsiders (``ModelConfig.reconsider``) also tries what else may explain the clicks, and one
        that is less sure of its answer than it should be (``min_confidence``) moves nothing but what was clicked.

        Args:
            encoded: the picture.
            poses: as the annotator sees them; persons without a click come back as they are, unless ``rescore``.
            clicks: any number, on any persons; of two clicks on one keypoint the later counts.
            hold: "all" keeps every keypoint a human ever placed exactly where it is, "current" those of this call,
                "none" uses clicks as a starting place only, as the published code does.
            rescore: as published, run all persons through this round, clicked or not, take their scores from it
                instead of the first pass, which ranks persons better, and leave boxes that stick out of the picture.

        Raises:
            InvalidClick: a click names no person or keypoint of this picture, or lies outside it; nothing is changed.
        """
        corrected = apply_clicks(poses, clicks, self.skeleton, encoded.size_wh, hold)
        if not clicks:
            return list(poses)
        clicked = {click.person for click in clicks}
        hypotheses = encoded.hypotheses_inside if self.config.reconsider else None
        persons = range(len(poses)) if rescore else sorted(clicked)
        starts = {i: self._starts(poses[i], corrected[i], hypotheses) for i in persons}
        touched = [i in clicked for i, person in starts.items() for _ in person]
        refined = iter(self._run_loop(encoded, [start.pose for person in starts.values() for start in person], touched))
        answer = list(poses)
        for i, person in starts.items():
            pose = most_plausible(person, list(islice(refined, len(person))))
            if pose.score < self.config.min_confidence:
                pose = corrected[i]
            inside = keep_inside(pose, encoded.size_wh)
            answer[i] = pose if rescore else dataclasses.replace(inside, score=poses[i].score)
        return answer

    def published_round(
        self, encoded: EncodedImage, poses: Sequence[Pose], clicks: Sequence[Click], *, hold: str = "all"
    ) -> list[Pose]:
        """Run a round of the loop as published: all persons, clicked or not, which also ranks them anew.

        Boxes may stick out of the picture. See ``refine`` for the arguments and errors.
        """
        return self.refine(encoded, poses, clicks, hold=hold, rescore=True)

    def _starts(self, shown: Pose, placed: Pose, hypotheses: Sequence[Pose] | None) -> list[Explanation]:
        """What the loop goes on from: as published the pose as placed, unless hypotheses may explain it better."""
        if hypotheses is None:
            return [Explanation(placed, 0.0)]
        return explain(shown, placed, hypotheses, self.skeleton)

    @torch.inference_mode()
    def add_person(self, encoded: EncodedImage, poses: Sequence[Pose], box_px: Sequence[float] | Floats) -> list[Pose]:
        """Append the person in a box ``x0, y0, x1, y1`` that a human drew around someone the model missed.

        Starts from the hypothesis that fits the box best, else from a mean pose in the box, and refines it once.

        Raises:
            InvalidClick: the box is empty, not finite, or outside the picture.
        """
        box = check_box(box_px, encoded.size_wh)
        start = self._best_hypothesis(encoded, box)
        pose = self._run_loop(encoded, [start], touched=[True])[0]
        return [*poses, dataclasses.replace(pose, score=1.0, box_px=box)]

    def _best_hypothesis(self, encoded: EncodedImage, box_px: Floats) -> Pose:
        overlaps = box_overlaps(box_px[None], np.stack([pose.box_px for pose in encoded.hypotheses_inside]))[0]
        best = int(overlaps.argmax())
        if overlaps[best] >= 0.5:
            return dataclasses.replace(encoded.hypotheses[best], box_px=box_px)
        boxes = self._normalise_boxes([box_px], encoded.size_wh)
        nobody = boxes.new_zeros(1, 1, self.config.width)  # whose content it is makes no difference to the places
        _, references = self.network.decoder.start_poses(nobody, boxes)
        keypoints_px = (references[0, 0, 1:, :2].cpu().numpy() * encoded.size_wh).astype(np.float32)
        return new_pose(keypoints_px, box_px, 1.0)

    def _first_pass(self, persons: Persons, values: LayerValues, size_wh: tuple[int, int]) -> tuple[Pose, ...]:
        content, references = self.network.decoder.start_poses(persons.content, persons.boxes)
        layers = self.network.decoder.decode_poses(content, references, values)
        first_logits = layers[-1].logits
        for _ in range(self.config.silent_rounds):
            assert layers[-1].keypoints is not None
            layers = self.network.refine(layers[-1].boxes, layers[-1].keypoints, values)
        return tuple(sorted(self._read(layers, size_wh, first_logits), key=lambda pose: -pose.score))

    def _run_loop(self, encoded: EncodedImage, poses: Sequence[Pose], touched: Sequence[bool]) -> list[Pose]:
        """Refine poses together; keypoints they hold stay where they are to the last digit.

        Boxes of those a human ``touched`` are extended to their keypoints before.
        """
        held = np.stack([pose.held for pose in poses])
        keypoints = np.stack([pose.keypoints_px for pose in poses]) / np.asarray(encoded.size_wh, np.float32)
        keypoints_norm = torch.from_numpy(keypoints.astype(np.float32)).clamp(0, 1).to(self.device)[None]
        boxes = self._normalise_boxes([pose.box_px for pose in poses], encoded.size_wh)
        boxes = extend_to_clicks(boxes, keypoints_norm, torch.tensor([touched], device=self.device))
        free = torch.from_numpy(~held).float().to(self.device)[None]
        refined = self._read(self.network.refine(boxes, keypoints_norm, encoded.values, free), encoded.size_wh)
        return [keep_held(old, new) for old, new in zip(poses, refined, strict=True)]

    def _read(
        self, layers: Sequence[LayerOutput], size_wh: tuple[int, int], logits: Tensor | None = None
    ) -> list[Pose]:
        """Turn the last layer's output for one picture into poses, unsorted; ``logits`` replace its own.

        A keypoint's score is the person's, lessened by how far the last layer still moved it (as an OKS).
        """
        last, before = layers[-1], layers[-2] if len(layers) > 1 else layers[-1]
        assert last.keypoints is not None and before.keypoints is not None
        wh = torch.tensor(size_wh, device=last.boxes.device)
        scores = (last.logits if logits is None else logits)[0, :, PERSON_CLASS].sigmoid()
        boxes = cxcywh_to_xyxy(last.boxes[0]) * wh.repeat(2)
        keypoints = last.keypoints[0] * wh
        moved = ((keypoints - before.keypoints[0] * wh) ** 2).sum(-1)
        inside = boxes.clamp(min=0).minimum(wh.repeat(2))
        area = (inside[:, 2:] - inside[:, :2]).prod(-1).clamp(min=1.0)
        sigmas = torch.from_numpy(self.skeleton.sigma_array).to(moved.device)
        steadiness = torch.exp(-moved / (2 * area[:, None] * (2 * sigmas) ** 2))
        answers = (keypoints, boxes, scores, scores[:, None] * steadiness)
        keypoints_px, boxes_px, person_scores, keypoint_scores = (answer.cpu().numpy() for answer in answers)
        return [
            new_pose(keypoints_px[i], boxes_px[i], float(person_scores[i]), keypoint_scores[i])
            for i in range(len(person_scores))
        ]

    def _normalise_boxes(self, boxes_px: Sequence[Floats], size_wh: tuple[int, int]) -> Tensor:
        boxes = torch.from_numpy(np.stack(boxes_px) / np.tile(np.asarray(size_wh, np.float32), 2))
        return xyxy_to_cxcywh(boxes.float()).to(self.device)[None]


def _as_pil(image: Picture) -> Image.Image:
    if isinstance(image, Image.Image):
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"a picture must be RGB uint8 of shape (H, W, 3), not {image.dtype} {image.shape}")
    return Image.fromarray(image)
