"""The published form of the method: one network, end to end, in coordinates of the whole image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clickpose.annotations import Floats, Pose
from clickpose.encoded import EncodedImage
from clickpose.errors import InvalidClick
from clickpose.image_frame import ImageFrame
from clickpose.inference import prepare
from clickpose.model import ClickPose
from clickpose.model.click_pose import Persons, extend_to_clicks
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.model.inputs import input_size, to_tensor
from clickpose.model.proposals import PERSON_CLASS
from clickpose.oks import exponent
from clickpose.poses import (
    HIDDEN_IOU,
    box_overlaps,
    drop_duplicates,
    hidden_among,
    keep_held,
    keep_inside,
    new_pose,
    score_by_agreement,
)
from clickpose.skeleton import Skeleton

MAX_TOGETHER = 8  # images that a GPU encodes in one call


@dataclass(frozen=True)
class EncodedWholeImage(EncodedImage):
    """What detect and refine need of an image: its projected memory and all persons found; no pixels.

    Attributes:
        values: memory as the pose layers see it.
        hypotheses: every pose that the first pass found, best first; several may show one person, and boxes may
            extend beyond the image.
    """

    values: LayerValues
    hypotheses: tuple[Pose, ...]

    @cached_property
    def hypotheses_inside(self) -> tuple[Pose, ...]:
        """The hypotheses with boxes that end where the image does."""
        return tuple(keep_inside(pose, self.size_wh) for pose in self.hypotheses)

    @property
    def num_bytes(self) -> int:
        """Memory in use, apart from some numbers per person."""
        return sum(value.numel() * value.element_size() for value in self.values.values)


class WholeImage:
    """How the published network encodes, detects and refines; see ``clickpose.predictor.Predictor``.

    Args:
        model: on its device; copied and rewritten for speed (``clickpose.inference``), so training it further
            changes no answer.
        skeleton: of K keypoints, in the model's order.
        keep: precision of what is kept of an image.
    """

    def __init__(self, model: ClickPose, skeleton: Skeleton, keep: torch.dtype) -> None:
        self.network, self.config = prepare(model), model.config
        self.skeleton, self.keep = skeleton, keep
        self.device = next(model.parameters()).device
        self.max_together = 1 if self.device.type == "cpu" else MAX_TOGETHER

    def encode(self, image: Image.Image) -> EncodedWholeImage:
        """Look at an RGB image: its memory, projected for the pose layers, and a first pass over its persons."""
        return self.encode_all([image])[0]

    def encode_all(self, images: Sequence[Image.Image]) -> list[EncodedWholeImage]:
        """Look at several images: a GPU at those of one size together, a CPU, which gains nothing by it, one by one."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for number, image in enumerate(images):
            size = input_size(image.size, self.config.short_side_px, self.config.long_side_px)
            by_size.setdefault(size, []).append(number)
        encoded: dict[int, EncodedWholeImage] = {}
        for size, numbers in by_size.items():
            for first in range(0, len(numbers), self.max_together):
                some = numbers[first : first + self.max_together]
                encoded.update(zip(some, self._encode_at(size, [images[n] for n in some]), strict=True))
        return [encoded[number] for number in range(len(images))]

    def _encode_at(self, input_wh: tuple[int, int], images: Sequence[Image.Image]) -> list[EncodedWholeImage]:
        resized = [image.resize(input_wh, Image.Resampling.BILINEAR) for image in images]
        memory = self.network.encode(torch.stack([to_tensor(one, self.config, self.device) for one in resized]))
        values = self.network.decoder.pose_values(memory).kept_as(self.keep)
        persons = self.network.find_persons(memory)
        parts = [(image.size, values.of_image(i), persons.of_image(i)) for i, image in enumerate(images)]
        return [EncodedWholeImage(size, its, self._first_pass(found, its, size)) for size, its, found in parts]

    def hypotheses(self, encoded: EncodedWholeImage) -> list[Pose]:
        """Return every pose of the first pass, best first; boxes may extend beyond the image."""
        return list(encoded.hypotheses)

    def detect(self, encoded: EncodedWholeImage, min_score: float | None, max_overlap: float) -> list[Pose]:
        """Return the persons of at least ``min_score``, duplicates dropped, best first."""
        least = self.config.min_score if min_score is None else min_score
        hypotheses = encoded.hypotheses_inside
        sure = [pose for pose in hypotheses if pose.score >= least]
        return score_by_agreement(drop_duplicates(sure, max_overlap), hypotheses, self.skeleton.sigma_array)

    def follow(
        self, encoded: EncodedWholeImage, shown: Sequence[Pose], placed: Sequence[Pose], clicked: Set[int]
    ) -> list[Pose]:
        """Refine the clicked persons; they keep their scores, and their boxes end where the image does."""
        persons = sorted(clicked)
        refined = self._run_loop(encoded, [placed[i] for i in persons], [True] * len(persons))
        answer = list(shown)
        for i, pose in zip(persons, refined, strict=True):
            answer[i] = dataclasses.replace(keep_inside(pose, encoded.size_wh), score=shown[i].score)
        return answer

    def published_round(self, encoded: EncodedWholeImage, placed: Sequence[Pose], clicked: Set[int]) -> list[Pose]:
        """Refine all persons and give them new scores; boxes may extend beyond the image."""
        return self._run_loop(encoded, placed, [i in clicked for i in range(len(placed))])

    def missed(self, encoded: EncodedWholeImage, shown: Sequence[Pose]) -> list[float]:
        """Return the scores of the distinct hypotheses of persons that are not shown yet."""
        hidden = hidden_among(drop_duplicates(encoded.hypotheses_inside, HIDDEN_IOU), shown)
        return [pose.score for pose in hidden]

    def appearance(self, encoded: EncodedWholeImage, shown: Sequence[Pose]) -> tuple[float, ...]:
        """Return nothing: no part of what is kept of an image belongs to one person."""
        return ()

    def person_in(self, encoded: EncodedWholeImage, box_px: Floats) -> Pose:
        """Return the person in a box: from the hypothesis that fits it best, else from a mean pose, refined once."""
        pose = self._run_loop(encoded, [self._best_hypothesis(encoded, box_px)], touched=[True])[0]
        return dataclasses.replace(pose, score=1.0, box_px=box_px)

    def person_at(self, encoded: EncodedWholeImage, shown: Sequence[Pose], keypoint: int, xy_px: Floats) -> Pose:
        """Return the hypothesis not shown yet whose keypoint lies nearest to a place.

        Raises:
            InvalidClick: all persons found are already shown.
        """
        hidden = hidden_among(encoded.hypotheses_inside, shown)
        if not hidden:
            raise InvalidClick(f"no further person was found near {tuple(xy_px)}: draw a box around the person")
        nearest = min(hidden, key=lambda pose: float(np.linalg.norm(pose.keypoints_px[keypoint] - xy_px)))
        return dataclasses.replace(nearest, score=1.0)

    def _best_hypothesis(self, encoded: EncodedWholeImage, box_px: Floats) -> Pose:
        overlaps = box_overlaps(box_px[None], np.stack([pose.box_px for pose in encoded.hypotheses_inside]))[0]
        best = int(overlaps.argmax())
        if overlaps[best] >= 0.5:
            return dataclasses.replace(encoded.hypotheses[best], box_px=box_px)
        frame = ImageFrame(encoded.size_wh)
        boxes = frame.boxes_to_frame(box_px).to(self.device)[None, None]
        content = boxes.new_zeros(1, 1, self.config.width)  # it makes no difference to the places
        _, references = self.network.decoder.start_poses(content, boxes)
        return new_pose(frame.points_to_px(references[0, 0, 1:, :2]).cpu().numpy(), box_px, 1.0)

    def _first_pass(self, persons: Persons, values: LayerValues, size_wh: tuple[int, int]) -> tuple[Pose, ...]:
        content, references = self.network.decoder.start_poses(persons.content, persons.boxes)
        layers = self.network.decoder.decode_poses(content, references, values)
        first_logits = layers[-1].logits
        for _ in range(self.config.silent_rounds):
            assert layers[-1].keypoints is not None
            layers = self.network.refine(layers[-1].boxes, layers[-1].keypoints, values)
        return tuple(sorted(self._read(layers, ImageFrame(size_wh), first_logits), key=lambda pose: -pose.score))

    def _run_loop(self, encoded: EncodedWholeImage, poses: Sequence[Pose], touched: Sequence[bool]) -> list[Pose]:
        """Refine poses together; held keypoints stay exactly where they are.

        Boxes of persons that a human ``touched`` are first extended to their keypoints.
        """
        frame = ImageFrame(encoded.size_wh)
        keypoints = frame.points_to_frame(np.stack([pose.keypoints_px for pose in poses])).clamp(0, 1)
        keypoints = keypoints.to(self.device)[None]
        boxes = frame.boxes_to_frame(np.stack([pose.box_px for pose in poses])).to(self.device)[None]
        boxes = extend_to_clicks(boxes, keypoints, torch.tensor([touched], device=self.device))
        free = torch.from_numpy(~np.stack([pose.held for pose in poses])).float().to(self.device)[None]
        refined = self._read(self.network.refine(boxes, keypoints, encoded.values, free), frame)
        return [keep_held(old, new) for old, new in zip(poses, refined, strict=True)]

    def _read(self, layers: Sequence[LayerOutput], frame: ImageFrame, logits: Tensor | None = None) -> list[Pose]:
        """Turn the last layer's output for one image into poses, unsorted; ``logits`` replace its own.

        A keypoint's score is the person's, lessened by how far the last layer still moved it (as an OKS).
        """
        last, before = layers[-1], layers[-2] if len(layers) > 1 else layers[-1]
        assert last.keypoints is not None and before.keypoints is not None
        scores = (last.logits if logits is None else logits)[0, :, PERSON_CLASS].sigmoid()
        boxes = frame.boxes_to_px(last.boxes[0])
        keypoints, before_px = frame.points_to_px(last.keypoints[0]), frame.points_to_px(before.keypoints[0])
        steadiness = self._similarity(keypoints, before_px, boxes, frame)
        rows = (rows.cpu().numpy() for rows in (keypoints, boxes, scores, scores[:, None] * steadiness))
        return [new_pose(xy, box, float(score), sure) for xy, box, score, sure in zip(*rows, strict=True)]

    def _similarity(self, keypoints: Tensor, others: Tensor, boxes: Tensor, frame: ImageFrame) -> Tensor:
        """Return the OKS terms ``(N, K)`` of keypoints and others; all in pixels; the area is that of the box."""
        inside = boxes.clamp(min=0).minimum(torch.tensor((*frame.size_wh, *frame.size_wh), device=boxes.device))
        area = (inside[:, 2:] - inside[:, :2]).prod(-1).clamp(min=1.0)
        sigmas = torch.from_numpy(self.skeleton.sigma_array).to(boxes.device)
        return torch.exp(-exponent(((keypoints - others) ** 2).sum(-1), area[:, None], sigmas))
