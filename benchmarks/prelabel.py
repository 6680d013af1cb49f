"""What pre-labelling costs: ``python -m benchmarks.prelabel``. Two minutes on two cores.

The labeller against the bare predictor, on the same pictures: reading in threads and looking at several pictures at
once save time; writing, and what is noted for selecting pictures, cost some. Starting up is measured apart.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import interleaved, summary, write_result
from benchmarks.subject import arguments
from clickpose.images import read_image
from clickpose.predictor import Predictor
from pipeline.labeller import Labeller, load_predictor
from pipeline.labelling_model import describe_model
from pipeline.listing import Picture, list_pictures
from pipeline.prelabelled import Shard

logger = logging.getLogger(__name__)
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure, print pictures per second, and write them to ``results/prelabel.json``."""
    data = str(ROOT / "examples" / "pictures" / "images")
    chosen = arguments(__doc__, model=str(ROOT / "models" / "demo"), pictures=data)
    pictures = list(list_pictures(chosen.pictures))[: 4 if chosen.quick else 16]
    result = measure(chosen.model, pictures, 1 if chosen.quick else chosen.repeats or 5)
    for name, value in result.items():
        logger.info("%s: %.3g", name, value)
    write_result("prelabel", result)


def measure(model_folder: str, pictures: Sequence[Picture], repeats: int) -> dict[str, float]:
    """Return pictures per second of both, what one is of the other, and seconds to start."""
    model, began = describe_model(model_folder), time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        labeller = Labeller(model, out, load_predictor)
        start_s = time.monotonic() - began
        predictor = labeller.predictor
        assert isinstance(predictor, Predictor)
        shard = Shard("bench", tuple(picture._replace(name=Path(picture.uri).name) for picture in pictures))
        forms = {"predictor": lambda: one_by_one(predictor, pictures), "labeller": lambda: labeller.label(shard)}
        times_ms = interleaved(forms, repeats, warm_up=1)
    rates = {name: 1000 * len(pictures) / summary(times)["median"] for name, times in times_ms.items()}
    persons = one_by_one(predictor, pictures)
    return {
        "predictor_pictures_per_s": rates["predictor"],
        "labeller_pictures_per_s": rates["labeller"],
        "share_of_predictor": rates["labeller"] / rates["predictor"],
        "persons_per_picture": persons / len(pictures),
        "start_s": start_s,
    }


def one_by_one(predictor: Predictor, pictures: Sequence[Picture]) -> int:
    """Read, encode and detect each picture; return how many persons there are."""
    return sum(len(predictor.detect(predictor.encode(read_image(picture.uri)))) for picture in pictures)


if __name__ == "__main__":
    main()
