"""What pre-labelling costs: ``python -m benchmarks.prelabel``. Three minutes on two cores.

The labeller against the bare predictor, on the same images: reading in threads and looking at several images at
once save time; writing, and what is noted for selecting images, cost some. Starting up is measured apart. An image
takes the longer the more persons it shows, so some that show about three are measured, too.

The driver's peak memory is that of a run over names, in a process of its own, with labelling replaced by counting.
"""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch
from PIL import Image

import pipeline.prelabel as driver
from benchmarks.measure import interleaved, peak_memory_mib, summary, write_result
from benchmarks.subject import arguments, draw_photo
from clickpose.images import read_image
from clickpose.model import resnet50_coco
from clickpose.model.inputs import input_size, to_tensor
from clickpose.predictor import Predictor
from pipeline.labeller import Labeller, ShardResult, load_predictor
from pipeline.labelling_model import describe_model
from pipeline.listing import ListedImage, list_images
from pipeline.prelabelled import Model, Shard

logger = logging.getLogger(__name__)
ROOT = Path(__file__).parents[1]
THREE, NUM_DRAWN = 3, 16
PHOTO_WH = (640, 480)  # the network takes it at 1066 x 800


def main() -> None:
    """Measure, print images per second, and write them to ``results/prelabel.json``."""
    data = str(ROOT / "examples" / "pictures" / "images")
    chosen = arguments(__doc__, model=str(ROOT / "models" / "demo"), images=data)
    few, many = (1_000, 2_000) if chosen.quick else (1_000, 1_000_000)
    result = {f"driver_mib_at_{count}": driver_mib(chosen.model, count) for count in (few, many)}
    images = list(list_images(chosen.images))[: 4 if chosen.quick else 16]
    result |= measure(chosen.model, images, 1 if chosen.quick else chosen.repeats or 5)
    result["preparation_ms"] = preparation_ms(1 if chosen.quick else 15)
    for name, value in result.items():
        logger.info("%s: %.3g", name, value)
    write_result("prelabel", result)


def measure(model_folder: str, images: Sequence[ListedImage], repeats: int) -> dict[str, float]:
    """Return images per second of both, what one is of the other, and seconds to start."""
    model, began = describe_model(model_folder), time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        labeller = Labeller(model, out, load_predictor)
        start_s = time.monotonic() - began
        predictor = labeller.predictor
        assert isinstance(predictor, Predictor)
        persons = [one_by_one(predictor, [image]) for image in images]
        nearest = sorted(range(len(images)), key=lambda i: abs(persons[i] - THREE))[: max(1, len(images) // 2)]
        every, of_three = shard_of(images), shard_of([images[i] for i in nearest])
        forms = {
            "predictor": lambda: one_by_one(predictor, images),
            "labeller": lambda: labeller.label(every),
            "labeller_at_three": lambda: labeller.label(of_three),
        }
        times_ms = interleaved(forms, repeats, warm_up=1)
    median_s = {name: summary(times)["median"] / 1000 for name, times in times_ms.items()}
    return {
        "predictor_pictures_per_s": len(images) / median_s["predictor"],
        "labeller_pictures_per_s": len(images) / median_s["labeller"],
        "share_of_predictor": median_s["predictor"] / median_s["labeller"],
        "persons_per_picture": sum(persons) / len(images),
        "labeller_pictures_per_s_at_three_persons": len(nearest) / median_s["labeller_at_three"],
        "persons_per_picture_at_three": sum(persons[i] for i in nearest) / len(nearest),
        "start_s": start_s,
    }


def beside_network(
    predictor: Predictor, network_alone: Callable[[], object], together: int, repeats: int
) -> dict[str, float]:
    """Return images per second of the labeller on drawn photos, and of the network alone on a prepared batch."""
    model = Model("bench", "", "", predictor.skeleton)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{seed}.jpg" for seed in range(NUM_DRAWN)]
        for seed, file in enumerate(files):
            Image.fromarray(draw_photo(seed=seed)).save(file)
        labeller = Labeller(model, f"{folder}/out", lambda _: predictor)
        shard = shard_of([ListedImage(str(file)) for file in files])
        times_ms = interleaved({"labeller": lambda: labeller.label(shard), "network": network_alone}, repeats, 1)
    labeller_s, network_s = (summary(times_ms[name])["median"] / 1000 for name in ("labeller", "network"))
    return {
        "labeller_pictures_per_s": NUM_DRAWN / labeller_s,
        "network_pictures_per_s": together / network_s,
        "share_of_network": NUM_DRAWN * network_s / together / labeller_s,
    }


def preparation_ms(repeats: int) -> float:
    """Return the processor's time to read a drawn photo and make it a tensor that the published network takes."""
    config = resnet50_coco()

    def prepare(file: Path) -> float:
        began, image = time.process_time(), read_image(file)
        size_wh = input_size(image.size, config.short_side_px, config.long_side_px)
        to_tensor(image.resize(size_wh, Image.Resampling.BILINEAR), config)
        return 1000 * (time.process_time() - began)

    with tempfile.TemporaryDirectory() as folder, one_thread():
        file = Path(folder) / "photo.jpg"
        Image.fromarray(draw_photo(PHOTO_WH)).save(file)
        return median(prepare(file) for _ in range(repeats))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread, as workers beside a GPU do: several would spin while they wait, which is time, too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shard_of(images: Sequence[ListedImage]) -> Shard:
    """Return images as one shard."""
    return Shard("bench", tuple(image._replace(name=Path(image.uri).name) for image in images))


def one_by_one(predictor: Predictor, images: Sequence[ListedImage]) -> int:
    """Read, encode and detect each image; return how many persons there are."""
    return sum(len(predictor.detect(predictor.encode(read_image(image.uri)))) for image in images)


def driver_mib(model_folder: str, num_images: int) -> float:
    """Return the peak memory of a driver whose workers answer at once."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_drive, (model_folder, num_images))


def _drive(model_folder: str, num_images: int) -> float:
    names = (f"/nowhere/photos/{number:09d}.jpg" for number in range(num_images))
    driver.label_shards = lambda shards, job, num_workers: (  # type: ignore[attr-defined]
        ShardResult(shard.name, len(shard.images), ()) for shard in shards
    )
    with tempfile.TemporaryDirectory() as out:
        driver.prelabel(names, out, model_folder)
    return peak_memory_mib()


if __name__ == "__main__":
    main()
