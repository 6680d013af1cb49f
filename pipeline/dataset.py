"""A data set wherever it lies: a COCO keypoint file and the folder of its pictures, each a path or a URI."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from clickpose.annotations import AnnotatedImage, AnnotationSet
from integrations.coco import read_coco, write_coco
from pipeline.pictures import read_picture
from pipeline.store import Store


@dataclass(frozen=True)
class PictureFolder:
    """Opens the pictures of a data set; ``root`` is the path or URI that their file names are relative to."""

    root: str

    def name_of(self, image: AnnotatedImage) -> str:
        """Return the path or URI of a picture."""
        return f"{self.root.rstrip('/')}/{quote(image.file_name) if '://' in self.root else image.file_name}"

    def __call__(self, image: AnnotatedImage) -> Image.Image:
        """Read a picture; ImageError if it cannot be had."""
        return read_picture(self.name_of(image))


def read_annotations(uri: str | Path, *, skip_bad: bool = False) -> AnnotationSet:
    """Read a COCO keypoint file by path or URI; ``skip_bad`` leaves bad records out and logs them.

    Raises:
        StoreError: there is no such file.
        InvalidAnnotation: it is no COCO keypoint file, or a record is malformed.
    """
    if "://" not in str(uri):
        return read_coco(uri, skip_bad=skip_bad)
    folder, _, name = str(uri).rpartition("/")
    with tempfile.TemporaryDirectory() as local:
        (Path(local) / name).write_bytes(Store(folder).read_bytes(name))
        return read_coco(Path(local) / name, skip_bad=skip_bad)


def coco_bytes(annotations: AnnotationSet) -> bytes:
    """Return the content of the COCO keypoint file of a data set."""
    with tempfile.TemporaryDirectory() as folder:
        write_coco(annotations, Path(folder) / "annotations.json")
        return (Path(folder) / "annotations.json").read_bytes()
