"""Several data sets from the command line: files, folders of their images, weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from clickpose.errors import InvalidConfig

if TYPE_CHECKING:
    from pipeline.mixture import DataSource


def data_sources(
    files: Sequence[str], images: Sequence[str] = (), weights: Sequence[float] = ()
) -> tuple[DataSource, ...]:
    """Pair COCO files with folders and weights, in their order.

    Args:
        files: paths or URIs of COCO keypoint files.
        images: a folder for each file, one for all, or none: then images are beside their file.
        weights: one for each file, or none: then all are equal.

    Raises:
        InvalidConfig: there are more or fewer folders or weights than files.
    """
    from pipeline.mixture import DataSource

    folders = list(images) or [file.rpartition("/")[0] or "." for file in files]
    if len(folders) == 1:
        folders *= len(files)
    heavy = list(weights) or [1.0] * len(files)
    for name, found in (("folders of images", folders), ("weights", heavy)):
        if len(found) != len(files):
            raise InvalidConfig(f"there are {len(files)} data sets and {len(found)} {name}: give one for each")
    return tuple(DataSource(*parts) for parts in zip(files, folders, heavy, strict=True))
