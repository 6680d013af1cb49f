"""Crops of annotated persons as a looker sees them, kept on disk: what the pose layers learn from.

The networks that look are frozen, so their maps of a crop are computed once. Each drawing of a data set shows every
person differently: turned, shifted, scaled, mirrored, or in the finder's own box, as at inference.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from clickpose.annotations import AnnotatedImage, AnnotationSet, Floats, PersonAnnotation
from clickpose.errors import ImageError
from clickpose.first_guess.finder import Finder
from clickpose.first_guess.looker import MoveNetLooker
from clickpose.person_frame.frame import Frame
from clickpose.person_frame.maps import KEPT_SIZES, keep
from clickpose.poses import box_overlaps
from clickpose.skeleton import Skeleton
from clickpose.training.person_frame.settings import DrawConfig
from clickpose.training.targets import is_trained_on

logger = logging.getLogger(__name__)

IMAGES_PER_FILE = 16
SAME_PERSON = 0.5  # IoU from which the finder's box shows an annotated person

LoadImage = Callable[[AnnotatedImage], Image.Image]


@dataclass(frozen=True)
class CropDrawer:
    """Draws the crops of data sets.

    Attributes:
        finder: says where it sees persons.
        looker: sees crops.
        config: how crops differ.
        skip_bad: leave out images that cannot be used, and log each, instead of ending.
    """

    finder: Finder
    looker: MoveNetLooker
    config: DrawConfig
    skip_bad: bool = False

    def draw(
        self,
        annotations: AnnotationSet,
        load_image: LoadImage,
        folder: Path,
        drawing: int,
        *,
        num_persons: int | None = None,
    ) -> Iterator[Path]:
        """Draw every person once, or enough of them, and yield the files written, or found already written.

        Images are in the order of their ids: those annotated later come last, so that most files are found again when
        a data set grows.

        Args:
            annotations: persons without a labelled keypoint are left out.
            load_image: opens an annotated image, upright, RGB.
            folder: where the files go; an interrupted drawing resumes after the last complete file.
            drawing: number of the drawing; in odd ones, images are mirrored.
            num_persons: stop after so many; each drawing draws other images at random, the same ones if the data grow.

        Raises:
            ImageError: an image cannot be used, and ``skip_bad`` is not set.
            OSError: a file cannot be written, for example because the disk is full.
        """
        for images, its_folder in self._enough(annotations, folder, drawing, num_persons):
            file = its_folder / f"{drawing:03d}.safetensors"
            if not file.exists():
                part = list(self._usable(images, load_image))
                if not part:
                    continue
                crops = [self._draw_image(record, image, annotations.skeleton, drawing) for record, image in part]
                names = [record.file_name for (record, _), crop in zip(part, crops, strict=True) for _ in crop["area"]]
                its_folder.mkdir(parents=True, exist_ok=True)
                _write(file, {name: torch.cat([crop[name] for crop in crops]) for name in crops[0]}, names)
            yield file

    def forget(self, annotations: AnnotationSet, folder: Path, drawing: int) -> None:
        """Delete the files of a drawing."""
        for _, its_folder in self.parts(annotations, folder):
            (its_folder / f"{drawing:03d}.safetensors").unlink(missing_ok=True)

    def _enough(
        self, annotations: AnnotationSet, folder: Path, drawing: int, num_persons: int | None
    ) -> Iterator[tuple[list[AnnotatedImage], Path]]:
        """Yield parts with as many persons as are asked for, at random; all, in their order, if these are no more."""
        parts = list(self.parts(annotations, folder))
        counts = {its_folder: sum(map(_num_trained, images)) for images, its_folder in parts}
        if num_persons is None or num_persons >= sum(counts.values()):
            yield from parts
            return
        parts.sort(key=lambda part: hashlib.sha256(f"{drawing} {part[1].name}".encode()).digest())
        for part in parts:
            if num_persons <= 0:
                return
            num_persons -= counts[part[1]]
            yield part

    def parts(self, annotations: AnnotationSet, folder: Path) -> Iterator[tuple[list[AnnotatedImage], Path]]:
        """Yield the images of each file, and the folder of its drawings, named after all but the pixels."""
        images = [image for image in annotations.images if _num_trained(image)]
        images.sort(key=lambda image: image.id)
        for start in range(0, len(images), IMAGES_PER_FILE):
            part = images[start : start + IMAGES_PER_FILE]
            yield part, folder / self._key_of(part, annotations.skeleton)

    def _key_of(self, images: Sequence[AnnotatedImage], skeleton: Skeleton) -> str:
        digest = hashlib.sha256(repr((self.config, self.looker.crop_px, skeleton.keypoints)).encode())
        digest.update(self.looker.trained_further.encode())
        for image in images:
            digest.update(repr((image.id, image.file_name, image.size_wh)).encode())
            for person in image.persons:
                digest.update(person.keypoints_px.tobytes() + person.visibility.tobytes() + person.box_px.tobytes())
        return digest.hexdigest()[:16]

    def _usable(
        self, images: Sequence[AnnotatedImage], load_image: LoadImage
    ) -> Iterator[tuple[AnnotatedImage, Image.Image]]:
        for image in images:
            try:
                yield image, load_image(image)
            except ImageError as error:
                if not self.skip_bad:
                    raise
                logger.warning("left out of training: %s", error)

    def _draw_image(
        self, record: AnnotatedImage, image: Image.Image, skeleton: Skeleton, drawing: int
    ) -> dict[str, Tensor]:
        rng = random.Random(f"{self.config.seed} {drawing} {record.id}")
        persons = [person for person in record.persons if is_trained_on(person)]
        if drawing % 2:
            image = ImageOps.mirror(image)
            persons = [mirrored(person, image.width, skeleton) for person in persons]
        frames = [self._frame(box, rng) for box in self._boxes(persons, image, rng)]
        look = self.looker([frame.cut(image, self.looker.crop_px) for frame in frames])
        maps = {
            f"map{i}": keep(map_, size).cpu() for i, (map_, size) in enumerate(zip(look.maps, KEPT_SIZES, strict=True))
        }
        rows = [truth_in(frame, person) for frame, person in zip(frames, persons, strict=True)]
        truth = {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}
        return {**maps, **truth, "guess": look.keypoints.cpu(), "heat": look.heat.cpu()}

    def _boxes(
        self, persons: Sequence[PersonAnnotation], image: Image.Image, rng: random.Random
    ) -> list[tuple[Floats, bool]]:
        """Return each person's box, and whether it is the finder's."""
        found = self.finder(image).boxes_px
        boxes = np.stack([person.box_px for person in persons])
        overlaps = box_overlaps(boxes, found) if len(found) else np.zeros((len(boxes), 1), np.float32)
        answer = []
        for box, overlap in zip(boxes, overlaps, strict=True):
            is_found = overlap.max() >= SAME_PERSON and rng.random() < self.config.found_share
            answer.append((found[overlap.argmax()] if is_found else box, is_found))
        return answer

    def _frame(self, box_and_is_found: tuple[Floats, bool], rng: random.Random) -> Frame:
        box, is_found = box_and_is_found
        upright = Frame.around(box)
        if is_found:
            return upright
        config, side = self.config, upright.side_px
        turn = rng.uniform(-config.max_turn, config.max_turn) if rng.random() < 0.5 else 0.0
        side *= rng.uniform(config.min_scale, config.max_scale)
        x, y = (c + rng.uniform(-config.max_shift, config.max_shift) * side for c in upright.centre_px)
        return Frame((x, y), side, turn)


def _num_trained(image: AnnotatedImage) -> int:
    return sum(map(is_trained_on, image.persons))


def truth_in(frame: Frame, person: PersonAnnotation) -> dict[str, Floats]:
    """Describe an annotated person in a frame: keypoints, visibility, area and box (``cxcywh``), all float32."""
    return {
        "keypoints": frame.to_frame(person.keypoints_px).astype(np.float32),
        "visibility": person.visibility.astype(np.float32),
        "area": np.array(person.area_px / frame.side_px**2, np.float32),
        "box": frame.box_to_frame(person.box_px).astype(np.float32),
    }


def mirrored(person: PersonAnnotation, width_px: int, skeleton: Skeleton) -> PersonAnnotation:
    """Return the person as a mirrored image ``width_px`` wide shows it: left and right trade names."""
    keypoints_px, box_px = person.keypoints_px.copy(), person.box_px.copy()
    keypoints_px[:, 0] = width_px - 1 - keypoints_px[:, 0]
    box_px[[0, 2]] = width_px - box_px[[2, 0]]
    order = skeleton.flip_permutation
    return PersonAnnotation(
        person.id, keypoints_px[order], person.visibility[order], box_px, person.area_px, is_crowd=person.is_crowd
    )


def _write(file: Path, tensors: dict[str, Tensor], names: list[str]) -> None:
    unfinished = file.with_suffix(".unfinished")
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, unfinished, metadata={"images": json.dumps(names)})
    except SafetensorError as error:
        raise OSError(f"crops cannot be written to {unfinished}: {error}") from error
    unfinished.rename(file)
