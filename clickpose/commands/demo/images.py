"""The images of the demo: half are annotated during it, the other half measures the effect."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from clickpose.errors import ImageError

if TYPE_CHECKING:
    from clickpose.annotations import AnnotatedImage, AnnotationSet
    from clickpose.skeleton import Skeleton

REPOSITORY = Path(__file__).parents[3]
PICTURES = REPOSITORY / "examples" / "pictures"
HELD_BACK_SHARE = 0.4
SUFFIXES = (".jpg", ".jpeg", ".png")
MODEL = REPOSITORY / "models" / "demo"


@dataclass(frozen=True)
class DemoImages:
    """Images by file name, and the annotations of some.

    Attributes:
        files: every image.
        truth: annotated images by file name, in the model's skeleton.
        annotated: names of those the annotator works through; the model learns from them.
        unseen: names of annotated images that no model ever trains on, to measure on.
    """

    files: tuple[Path, ...]
    truth: dict[str, AnnotatedImage]
    annotated: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def num_persons(self) -> int:
        """Labelled persons on all images."""
        from clickpose.annotations import AnnotationSet
        from clickpose.skeleton import Skeleton

        return AnnotationSet(Skeleton("", ("",), (1.0,)), tuple(self.truth.values())).num_persons


def find_images(folder: Path, skeleton: Skeleton, limit: int | None = None) -> DemoImages:
    """Find the images of a folder with ``images/`` and ``annotations.json``.

    Args:
        folder: as ``examples/pictures``.
        skeleton: the model's; keypoints of other names are left out.
        limit: use only that many annotated images, those with the fewest persons first, and no others.

    Raises:
        ImageError: there are fewer than four annotated images, or one of them is not there.
    """
    from clickpose.annotations import convert_set
    from integrations.coco import read_coco

    truth = convert_set(read_coco(folder / "annotations.json"), skeleton)
    people = _easiest_first(truth)[:limit]
    files = sorted(path for path in (folder / "images").iterdir() if path.suffix.lower() in SUFFIXES)
    names = {image.file_name for image in people}
    if missing := sorted(names - {path.name for path in files}):
        raise ImageError(f"{folder}/images has no {missing[0]}, which annotations.json names")
    annotated = tuple(image.file_name for number, image in enumerate(people) if number % 4 < 2)
    if len(people) < 4:
        raise ImageError(f"{folder} needs at least four annotated images: to learn from, to compare on, to measure on")
    return DemoImages(
        files=tuple(path for path in files if limit is None or path.name in names),
        truth={image.file_name: image for image in people},
        annotated=annotated,
        unseen=tuple(image.file_name for image in people if image.file_name not in annotated),
    )


def _easiest_first(truth: AnnotationSet) -> list[AnnotatedImage]:
    """Sort annotated images by their number of persons, in turn one that a round trains on and one it holds back."""
    from pipeline.snapshot import is_held_back

    people = sorted((i for i in truth.images if _count(i)), key=lambda i: (_count(i), i.file_name))
    sides = [[i for i in people if is_held_back(i.file_name, HELD_BACK_SHARE) == held] for held in (False, True)]
    return [image for pair in zip_longest(*sides) for image in pair if image is not None]


def copy_images(files: Sequence[Path], folder: Path) -> Path:
    """Copy images to a folder that Label Studio may serve."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, folder / file.name)
    return folder


def _count(image: AnnotatedImage) -> int:
    return sum(person.num_labelled > 0 and not person.is_crowd for person in image.persons)
