"""What is to be labelled: the images that were asked for, listed on disk, and cut into shards."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

from pipeline.listing import LeftOut, ListedImage, list_images, no_images
from pipeline.prelabelled import Model, Shard
from pipeline.roots import common_folder, relative_name, root_of
from pipeline.shards import shard_name

CHUNK = 2**15  # images that are planned at once
FIRST_SIZE, SHARDS_PER_SIZE = 4, 8  # shards begin small, so that a short list keeps many workers busy


@dataclass
class Listing:
    """The images that were asked for, in a file on disk: there may be more than fit into memory.

    Attributes:
        file: a JSON list for each image.
        num_images: how many there are, those listed twice included.
        root: the folder, path or URI, that all of them are below; see ``root_of``.
        left_out: what the search left out.
    """

    file: IO[str]
    num_images: int = 0
    root: str = ""
    left_out: LeftOut = field(default_factory=LeftOut)

    def chunks(self, roots: Sequence[str]) -> Iterator[list[ListedImage]]:
        """Yield the images, each with its name below the first of some roots that holds it."""
        self.file.seek(0)
        while lines := list(islice(self.file, CHUNK)):
            images = (ListedImage(*json.loads(line)) for line in lines)
            yield [image._replace(name=relative_name(image.uri, roots)) for image in images]


@contextmanager
def list_to_disk(source: str | Path | Iterable[str | Path]) -> Iterator[Listing]:
    """List images into a file that is gone when the block ends; see ``list_images``.

    Raises:
        ImageError: there are no images.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        listing, folder = Listing(file), ""
        for image in list_images(source, listing.left_out):
            file.write(json.dumps(image[:3]) + "\n")
            if not listing.num_images:
                folder = common_folder([image.uri])
            elif not image.uri.startswith(f"{folder}/"):
                folder = common_folder([f"{folder}/", image.uri])
            listing.num_images += 1
        listing.left_out.report()
        if not listing.num_images:
            raise no_images(source)
        listing.root = root_of(source, folder)
        yield listing


def plan_shards(images: Sequence[ListedImage], model: Model, max_size: int, num_before: int = 0) -> list[Shard]:
    """Cut images into shards of at most ``max_size``; ``num_before`` were planned before in the same run."""
    shards, first = list[Shard](), 0
    while first < len(images):
        doublings = min(20, (num_before + len(shards)) // SHARDS_PER_SIZE)
        size = min(max_size, FIRST_SIZE << doublings)
        some = tuple(images[first : first + size])
        shards.append(Shard(shard_name(some, model), some))
        first += size
    return shards
