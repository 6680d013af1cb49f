"""Pack the persons of data sets into one file, for ``demo_gpu.sh`` on a machine without the images.

    python -m examples.pack_crops packed.safetensors coco_people/train.json lspet17/train.json \\
        --images coco_people/images --images lspet14/images --weight 1 --weight .25 --persons 20000 --persons 2500

That makes 12,745 persons in 55 MB; ``--quality 30`` about 30 MB.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from clickpose.commands.data_sources import data_sources
from clickpose.commands.options import takes
from clickpose.first_guess.networks import make_finder
from clickpose.skeleton import Skeleton
from clickpose.training.person_frame.epochs import CropSource
from clickpose.training.person_frame.packing import QUALITY, pack
from pipeline.mixture import open_mixture


@dataclass(frozen=True)
class Options:
    """What is packed."""

    out: Annotated[Path, typer.Argument(help="File to write.")]
    data: Annotated[list[str], typer.Argument(help="COCO keypoint files.")]
    images: Annotated[list[str], typer.Option(help="Folder with the images of each.")]
    weight: Annotated[list[float] | None, typer.Option(help="How much is drawn of each file, against the others.")] = (
        None
    )
    persons: Annotated[list[int] | None, typer.Option(help="At most so many of each file.")] = None
    quality: Annotated[int, typer.Option(help="Of the images, as WebP's; 35 takes 60 % of the room.")] = QUALITY


@takes(Options)
def main(options: Options) -> None:
    data = open_mixture(data_sources(options.data, options.images, options.weight or ()), Skeleton.load("coco17"))
    sources = [CropSource(part, source.weight) for part, source in zip(data.parts, data.sources, strict=True)]
    finder = make_finder(torch.device("cpu"))
    crops = pack(sources, options.persons or (), data.load_image, finder, options.out, options.quality)
    print(f"{len(crops)} persons, {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
