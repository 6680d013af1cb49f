"""The form of the method for machines without a GPU: find persons, look at each, refine each in its own frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clickpose.annotations import Floats, Pose
from clickpose.encoded import EncodedImage
from clickpose.first_guess.finder import Finder, Found
from clickpose.first_guess.looker import MoveNetLooker
from clickpose.inference import prepare_loop
from clickpose.person_frame.frame import Frame, enclose
from clickpose.person_frame.maps import KEPT_SIZES, MapAttention, Maps, keep, side_by_side
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.person_frame.starts import first_keypoints
from clickpose.poses import drop_alike, drop_duplicates, hidden_among, keep_held, new_pose
from clickpose.skeleton import Skeleton

KEPT_SIDE_PX = 1600  # longer side of the image that is kept, to look at one more crop
MIN_HYPOTHESIS = 0.05  # chance of a person who is counted, if not shown
MAX_HIDDEN_LOOKS = 3  # hidden persons who are looked at when a keypoint is placed where no person is shown
MAX_CROPS = 24  # looked at together
GUESSED_SIZES = (0.6, 1.0, 1.7)  # of such a person, in median sizes of those shown
SIZE_IN_IMAGE = 0.35  # the same in shorter sides of the image, if no person is shown


@dataclass(frozen=True)
class Seen:
    """One person's crop, looked at: the maps, and the looker's first keypoints ``(17, 2)`` in the frame."""

    maps: Maps
    looked: Tensor


@dataclass(frozen=True)
class EncodedPersons(EncodedImage):
    """The data kept of an image: every frame that was looked at, and the image itself, scaled down, for further looks.

    Attributes:
        image: the image, scaled down if it is large.
        found: all persons that the finder found, also those too unlikely to show.
        poses: first poses of the persons shown, best first.
        seen: crops by frame; a new frame is added when it is looked at.
    """

    image: Image.Image
    found: Found
    poses: list[Pose] = field(default_factory=list)
    seen: dict[Frame, Seen] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Memory in use, apart from some numbers per person."""
        return 3 * self.image.width * self.image.height + sum(seen.maps.num_bytes for seen in self.seen.values())


class PersonFrame:
    """How finder, looker and pose layers encode, detect and refine; see ``clickpose.predictor.Predictor``.

    Args:
        network: the pose layers, on their device; the looker is on the same one.
        skeleton: of K keypoints, in the network's order.
        finder: says where persons are.
        looker: looks at each one's crop.
    """

    def __init__(self, network: PersonFrameNetwork, skeleton: Skeleton, finder: Finder, looker: MoveNetLooker) -> None:
        self.network = prepare_loop(network, read=(0, -1), keep=MapAttention)  # both ends say how sure they are
        self.network.looker = None  # its weights are in ``looker``
        self.config = network.frame_config
        self.skeleton, self.finder, self.looker = skeleton, finder, looker
        self.device = next(network.parameters()).device

    def encode(self, image: Image.Image) -> EncodedPersons:
        """Find the persons of an RGB image and look at each who is likely enough to be shown."""
        return self.encode_all([image])[0]

    def encode_all(self, images: Sequence[Image.Image]) -> list[EncodedPersons]:
        """Encode several images; the crops of all their persons are looked at together."""
        encoded = [self._find(image) for image in images]
        shown = [one.found.scores >= self.config.min_score for one in encoded]
        boxes = [one.found.boxes_px[is_shown] for one, is_shown in zip(encoded, shown, strict=True)]
        self._look([(one, Frame.around(box)) for one, its in zip(encoded, boxes, strict=True) for box in its])
        for one, its, is_shown in zip(encoded, boxes, shown, strict=True):
            one.poses.extend(self._distinct(one, its, one.found.scores[is_shown]))
        return encoded

    def _find(self, image: Image.Image) -> EncodedPersons:
        scale = min(1.0, KEPT_SIDE_PX / max(image.size))
        width, height = (max(1, round(side * scale)) for side in image.size)
        kept = image if scale == 1 else image.resize((width, height), Image.Resampling.BILINEAR)
        return EncodedPersons(image.size, kept, self.finder(image))

    def hypotheses(self, encoded: EncodedPersons) -> list[Pose]:
        """Look at every possible person, best first: average precision counts all of them."""
        likely = encoded.found.scores >= MIN_HYPOTHESIS
        return self._distinct(encoded, encoded.found.boxes_px[likely], encoded.found.scores[likely])

    def detect(self, encoded: EncodedPersons, min_score: float | None, max_overlap: float) -> list[Pose]:
        """Return the persons shown, chosen by the chance that there is one."""
        least = 0.0 if min_score is None else min_score
        return drop_duplicates([pose for pose in encoded.poses if pose.score >= least], max_overlap)

    def follow(
        self, encoded: EncodedPersons, shown: Sequence[Pose], placed: Sequence[Pose], clicked: Set[int]
    ) -> list[Pose]:
        """Play one round with the clicked persons."""
        persons = sorted(clicked)
        answer = list(shown)
        for i, pose in zip(persons, self._play(encoded, [placed[i] for i in persons]), strict=True):
            answer[i] = pose
        return answer

    def published_round(self, encoded: EncodedPersons, placed: Sequence[Pose], clicked: Set[int]) -> list[Pose]:
        """Play one round with all persons."""
        return self._play(encoded, placed)

    def missed(self, encoded: EncodedPersons, shown: Sequence[Pose]) -> list[float]:
        """Return the chance that each box which is not shown has a person whom an annotator would label."""
        no_pose = np.zeros((1, 2), np.float32)
        found = zip(encoded.found.boxes_px, encoded.found.scores, strict=True)
        return [pose.score for pose in hidden_among([new_pose(no_pose, box, float(s)) for box, s in found], shown)]

    def appearance(self, encoded: EncodedPersons, shown: Sequence[Pose]) -> tuple[float, ...]:
        """Return the looker's coarsest features ``(C,)``, averaged over the crops of all persons."""
        frames = [frame for frame in (Frame.around(pose.box_px) for pose in shown) if frame in encoded.seen]
        if not frames:
            return ()
        crops = torch.stack([encoded.seen[frame].maps.cells[-1][0, :, :-1].float().mean(0) for frame in frames])
        return tuple(crops.mean(0).tolist())

    def person_in(self, encoded: EncodedPersons, box_px: Floats) -> Pose:
        """Look at a box and return the person in it."""
        return self._first_poses(encoded, box_px[None], np.ones(1, np.float32))[0]

    def person_at(self, encoded: EncodedPersons, shown: Sequence[Pose], keypoint: int, xy_px: Floats) -> Pose:
        """Return a person, not shown yet, who has a keypoint at a place.

        Of the hidden persons around the place it is the one whose keypoint is nearest to it. Without one, the place
        itself is looked at, at several sizes, and the pose with the highest score is used.
        """
        hidden = self._hidden_at(encoded, shown, xy_px)
        if hidden:
            return min(hidden, key=lambda pose: float(np.linalg.norm(pose.keypoints_px[keypoint] - xy_px)))
        boxes = self._boxes_at(encoded, shown, keypoint, xy_px)
        return max(self._first_poses(encoded, boxes, np.ones(len(boxes), np.float32)), key=lambda pose: pose.score)

    def _hidden_at(self, encoded: EncodedPersons, shown: Sequence[Pose], xy_px: Floats) -> list[Pose]:
        boxes = [box for box in encoded.found.boxes_px if Frame.around(box).shows(xy_px)]
        unseen = hidden_among([new_pose(np.zeros((1, 2), np.float32), box, 1.0) for box in boxes], shown)
        boxes_px = np.array([pose.box_px for pose in unseen[:MAX_HIDDEN_LOOKS]], np.float32)
        return self._first_poses(encoded, boxes_px, np.ones(len(boxes_px), np.float32))

    def _boxes_at(self, encoded: EncodedPersons, shown: Sequence[Pose], keypoint: int, xy_px: Floats) -> Floats:
        """Boxes of several sizes, each placed so that the keypoint is at its mean place in a box."""
        sizes = [float((pose.box_px[2:] - pose.box_px[:2]).max()) for pose in shown]
        size = np.median(sizes) if sizes else SIZE_IN_IMAGE * min(encoded.size_wh)
        middle = torch.full((1, 4), 0.5, device=self.device)
        lies = self.network.start(middle)[0, keypoint].cpu().numpy()  # in the frame
        corners = [np.concatenate((xy_px - lies * s, xy_px + (1 - lies) * s)) for s in size * np.array(GUESSED_SIZES)]
        return np.stack(corners).astype(np.float32)

    def _distinct(self, encoded: EncodedPersons, boxes_px: Floats, chances: Floats) -> list[Pose]:
        """Look at boxes; return their poses, best first, without those that show the same person as a better one."""
        poses = sorted(self._first_poses(encoded, boxes_px, chances), key=lambda pose: -pose.score)
        return drop_alike(poses, self.skeleton.sigma_array)

    def _first_poses(self, encoded: EncodedPersons, boxes_px: Floats, chances: Floats) -> list[Pose]:
        """Look at boxes; a pose's score is the share of its keypoints that are expected to be somebody's and right.

        That is the chance that there is a person, times the mean chance of the keypoints.
        """
        if not len(boxes_px):
            return []
        frames = [Frame.around(box) for box in boxes_px]
        looked = torch.stack([seen.looked for seen in self._look([(encoded, frame) for frame in frames])])
        keypoints = first_keypoints(self.network, self.skeleton, self._boxes_in(frames, boxes_px), looked)
        poses = [
            new_pose(places, box, float(score))
            for places, box, score in zip(self._in_image(encoded, frames, keypoints), boxes_px, chances, strict=True)
        ]
        for _ in range(self.config.silent_rounds):
            poses = self._play(encoded, poses)
        return [dataclasses.replace(pose, score=pose.score * float(pose.scores.mean())) for pose in poses]

    def _play(self, encoded: EncodedPersons, poses: Sequence[Pose]) -> list[Pose]:
        """Play one round of the loop with some persons: free keypoints answer to held ones."""
        if not poses:
            return []
        poses = [_with_room(pose) for pose in poses]
        frames = [Frame.around(pose.box_px) for pose in poses]
        maps = side_by_side([seen.maps for seen in self._look([(encoded, frame) for frame in frames])])
        given = self._tensor([frame.to_frame(pose.keypoints_px) for frame, pose in zip(frames, poses, strict=True)])
        free = torch.from_numpy(~np.stack([pose.held for pose in poses])).to(self.device)
        boxes = self._boxes_in(frames, [pose.box_px for pose in poses])
        places, chances = self.network.play(boxes, given, maps, free.float()).settle(given, free, self.config)
        answers = zip(poses, self._in_image(encoded, frames, places), chances.cpu().numpy(), strict=True)
        return [
            keep_held(pose, dataclasses.replace(pose, keypoints_px=keypoints_px, scores=scores))
            for pose, keypoints_px, scores in answers
        ]

    def _look(self, asked: Sequence[tuple[EncodedPersons, Frame]]) -> list[Seen]:
        """Look at those frames that were not looked at before, ``MAX_CROPS`` at a time."""
        new = list(
            {(id(encoded), frame): (encoded, frame) for encoded, frame in asked if frame not in encoded.seen}.values()
        )
        for first in range(0, len(new), MAX_CROPS):
            some = new[first : first + MAX_CROPS]
            look = self.looker([self._cut(encoded, frame) for encoded, frame in some])
            maps = self.network.see([keep(m, s).to(self.device) for m, s in zip(look.maps, KEPT_SIZES, strict=True)])
            for i, (encoded, frame) in enumerate(some):
                encoded.seen[frame] = Seen(maps.of_crop(i), look.keypoints[i])
        return [encoded.seen[frame] for encoded, frame in asked]

    def _cut(self, encoded: EncodedPersons, frame: Frame) -> Image.Image:
        scale = encoded.image.width / encoded.size_wh[0]
        return frame.scaled(scale).cut(encoded.image, self.looker.crop_px)

    def _in_image(self, encoded: EncodedPersons, frames: Sequence[Frame], places: Tensor) -> list[Floats]:
        """Carry places ``(N, K, 2)`` of N frames over to pixels, inside the image."""
        limit = np.array(encoded.size_wh) - 1
        carried = [frame.to_px(place) for frame, place in zip(frames, places.cpu().numpy(), strict=True)]
        return [np.clip(place, 0, limit).astype(np.float32) for place in carried]

    def _boxes_in(self, frames: Sequence[Frame], boxes_px: Sequence[Floats] | Floats) -> Tensor:
        return self._tensor([frame.box_to_frame(box) for frame, box in zip(frames, boxes_px, strict=True)])

    def _tensor(self, rows: Sequence[object]) -> Tensor:
        return torch.from_numpy(np.stack(rows)).float().to(self.device)  # type: ignore[arg-type]


def _with_room(pose: Pose) -> Pose:
    """Extend the box of a pose whose placed keypoints lie outside its frame: the frame follows them."""
    placed = pose.keypoints_px[pose.held]
    if not len(placed) or Frame.around(pose.box_px).shows(placed):
        return pose
    return dataclasses.replace(pose, box_px=enclose(pose.box_px, placed))
