"""A data set: a COCO keypoint file and the folder of its images, each a path or a URI."""

from __future__ import annotations

import logging
import tempfile
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote

from PIL import Image

from clickpose.annotations import AnnotatedImage, AnnotationSet, convert_set
from clickpose.errors import ImageError
from clickpose.images import Findings, open_fitted
from clickpose.skeleton import Skeleton
from integrations.coco import read_coco, write_coco
from pipeline.image_files import image_exists, read_image_at
from pipeline.store import Store

logger = logging.getLogger(__name__)

READERS = 4  # threads; most of the time is decoding
FETCHED = "pictures"  # folder of a store for images that only Label Studio has


@dataclass(frozen=True)
class ImageFolder:
    """Opens the images of a data set.

    ``root`` is the path or URI that their file names are relative to. Several may be given, separated by newlines: an
    image is read from the first that has it.
    """

    root: str

    def name_of(self, image: AnnotatedImage) -> str:
        """Return the path or URI of an image."""
        names = [_below(root, image.file_name) for root in self.root.splitlines() or [""]]
        return next((name for name in names[:-1] if image_exists(name)), names[-1])

    def __call__(self, image: AnnotatedImage) -> Image.Image:
        """Read an image, if need be by another spelling of its name; ImageError if it cannot be read."""
        try:
            return read_image_at(self.name_of(image))
        except ImageError:
            for file_name in _other_spellings(image.file_name):
                name = self.name_of(replace(image, file_name=file_name))
                if image_exists(name):
                    return read_image_at(name)
            raise


def _other_spellings(file_name: str) -> set[str]:
    """Return the name as Windows, macOS or a URL would spell it, if that differs."""
    spellings = [file_name.replace("\\", "/"), unquote(file_name)]
    spellings += [unicodedata.normalize(form, file_name) for form in ("NFC", "NFD")]
    return set(spellings) - {file_name}


def _below(root: str, file_name: str) -> str:
    if "://" in file_name or file_name.startswith("/"):
        return file_name
    return f"{root.rstrip('/')}/{quote(file_name) if '://' in root else file_name}"


def read_annotations(uri: str | Path, *, category: str | None = None, skip_bad: bool = False) -> AnnotationSet:
    """Read a COCO keypoint file by path or URI; see ``read_coco``.

    Raises:
        StoreError: there is no such file.
        InvalidAnnotation: it is not a COCO keypoint file, or a record is malformed.
    """
    if "://" not in str(uri):
        return read_coco(uri, category=category, skip_bad=skip_bad)
    folder, _, name = str(uri).rpartition("/")
    with tempfile.TemporaryDirectory() as local:
        (Path(local) / name).write_bytes(Store(folder).read_bytes(name))
        return read_coco(Path(local) / name, category=category, skip_bad=skip_bad)


def in_skeleton(annotations: AnnotationSet, skeleton: Skeleton, source: str | Path) -> AnnotationSet:
    """Convert a data set to another skeleton by keypoint name; log which keypoints are left out, if any."""
    if missing := set(annotations.skeleton.keypoints) - set(skeleton.keypoints):
        names = ", ".join(name for name in annotations.skeleton.keypoints if name in missing)
        logger.warning("%s: skeleton %r has no %s: they are left out", source, skeleton.name, names)
    return convert_set(annotations, skeleton)


def fit_records(annotations: AnnotationSet, images: ImageFolder, *, skip_bad: bool) -> AnnotationSet:
    """Open every image once, and correct each record to fit its image; ``skip_bad`` skips images that cannot be used.

    Corrected and skipped records are logged.

    Raises:
        ImageError: an image cannot be used, and ``skip_bad`` is not set; or none can be used.
    """
    findings, failures = Findings(), list[ImageError]()

    def fit(image: AnnotatedImage) -> AnnotatedImage | ImageError:
        try:
            return open_fitted(image, images, findings)[1]
        except ImageError as error:
            return error

    fitted = []
    with ThreadPoolExecutor(READERS) as pool:
        for outcome in pool.map(fit, annotations.images):
            if isinstance(outcome, ImageError):
                failures.append(outcome)
            else:
                fitted.append(outcome)
    if failures and (not skip_bad or not fitted):
        raise failures[0]
    for error in failures:
        findings.tell(f"left out: {error}")
    if failures:
        logger.warning("left out %d of %d images", len(failures), len(annotations))
    return replace(annotations, images=tuple(fitted))


def coco_bytes(annotations: AnnotationSet) -> bytes:
    """Return the content of the COCO keypoint file of a data set."""
    with tempfile.TemporaryDirectory() as folder:
        write_coco(annotations, Path(folder) / "annotations.json")
        return (Path(folder) / "annotations.json").read_bytes()
