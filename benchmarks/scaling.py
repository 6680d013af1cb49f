"""How costs grow: ``python -m benchmarks.scaling``. Three minutes on two cores; draws docs/scaling.png.

A refine against the image's size (flat), the persons touched (linear) and the keypoints of a skeleton; encoding
against pixels (linear).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.measure import interleaved, summary, write_result
from benchmarks.subject import arguments, build_network, build_predictor
from clickpose.annotations import Click
from clickpose.model import ClickPose
from clickpose.model.config import ModelConfig
from clickpose.model.decoder import LayerValues
from clickpose.model.sampling import LevelShapes
from clickpose.poses import new_pose
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton
from clickpose.whole_image import EncodedWholeImage

logger = logging.getLogger(__name__)
IMAGE = Path(__file__).parents[1] / "docs" / "scaling.png"
SIZES_WH = ((480, 320), (640, 480), (1088, 800), (1333, 800))
PERSONS = (1, 2, 5, 10, 20, 50)
SKELETONS = ("coco17", "humanart21", "wholebody133")
Forms = dict[int, Callable[[], object]]
Curve = dict[int, dict[str, float]]


def main() -> None:
    """Measure four curves and draw them."""
    chosen = arguments(__doc__)
    model, repeats = build_network(chosen.quick), chosen.repeats or 25
    predictor, curves = build_predictor(model), {}
    logger.info("refine of one person against the image's size")
    by_size = {w * h: refine_of(predictor, draw_encoded(model.config, (w, h)), 1) for w, h in SIZES_WH}
    curves["refine_ms_by_pixels"] = curve(by_size, repeats)
    logger.info("refine against the persons touched")
    encoded = draw_encoded(model.config, SIZES_WH[2])
    curves["refine_ms_by_persons"] = curve({n: refine_of(predictor, encoded, n) for n in PERSONS}, repeats)
    logger.info("refine of one person against the keypoints of a skeleton")
    curves["refine_ms_by_keypoints"] = curve(dict(refine_by_keypoints(model.config)), repeats)
    logger.info("encode against pixels")
    curves["encode_ms_by_pixels"] = curve({w * h: encode_of(predictor, w, h) for w, h in SIZES_WH}, 2)
    for name, points in curves.items():
        logger.info("%s %s", name, {x: round(times["median"], 2) for x, times in points.items()})
    if not chosen.quick:
        draw(curves)
        logger.info("%s", write_result("scaling", curves))


def curve(forms: Forms, repeats: int) -> Curve:
    """Time a form for each place on the axis, in turns."""
    times = interleaved({str(x): form for x, form in forms.items()}, repeats, warm_up=1)
    return {int(x): summary(times_ms) for x, times_ms in times.items()}


def draw_encoded(config: ModelConfig, size_wh: tuple[int, int]) -> EncodedWholeImage:
    """Draw random data in place of an encoded image; the time of a refine does not depend on its content."""
    shapes, generator = level_shapes(size_wh, config.num_levels), torch.Generator().manual_seed(0)
    rows = (1, sum(h * w for h, w in shapes), config.num_heads, config.width // config.num_heads)
    values = tuple(torch.randn(rows, generator=generator) for _ in range(config.pose_layers))
    return EncodedWholeImage(size_wh, LayerValues(values, shapes, torch.ones(1, config.num_levels, 2)), ())


def level_shapes(size_wh: tuple[int, int], num_levels: int) -> LevelShapes:
    """Feature maps of strides 8, 16, 32 and 64."""
    width, height = size_wh
    return tuple((-(-height // stride), -(-width // stride)) for stride in (8, 16, 32, 64)[:num_levels])


def refine_of(predictor: Predictor, encoded: EncodedWholeImage, count: int) -> Callable[[], object]:
    """Click once on each of some persons."""
    random, (width, height) = np.random.default_rng(0), encoded.size_wh
    keypoints_px = random.uniform(0.2, 0.6, (count, len(predictor.skeleton), 2)) * (width, height)
    box_px = np.array([0.2 * width, 0.2 * height, 0.6 * width, 0.6 * height])
    poses = [new_pose(points, box_px, 0.9) for points in keypoints_px]
    clicks = [Click(person, predictor.skeleton.keypoints[0], (width / 2, height / 2)) for person in range(count)]
    return lambda: predictor.refine(encoded, poses, clicks)


def refine_by_keypoints(config: ModelConfig) -> Iterator[tuple[int, Callable[[], object]]]:
    """Click on one person of each skeleton, in networks that are alike in all else."""
    for name in SKELETONS:
        skeleton = Skeleton.load(name)
        model = ClickPose(dataclasses.replace(config, num_keypoints=len(skeleton)))
        predictor = Predictor(model, skeleton)
        yield len(skeleton), refine_of(predictor, draw_encoded(model.config, SIZES_WH[2]), 1)


def encode_of(predictor: Predictor, width: int, height: int) -> Callable[[], object]:
    """Encode an image in its own size."""
    images = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def encode() -> None:
        memory = predictor.network.encode(images)
        predictor.network.find_persons(memory)
        predictor.network.decoder.pose_values(memory)

    return encode


def draw(curves: Mapping[str, Curve]) -> None:
    """Draw docs/scaling.png: medians, and down to the fastest run."""
    figure = Figure(figsize=(11, 3), layout="constrained")
    for axes, (name, points) in zip(figure.subplots(1, 4), curves.items(), strict=True):
        what, unit = name.split("_ms_by_")
        places = [x / 1e6 for x in points] if unit == "pixels" else list(points)
        medians, fastest = ([times[kind] for times in points.values()] for kind in ("median", "min"))
        axes.fill_between(places, fastest, medians, alpha=0.2)
        axes.plot(places, medians, marker="o")
        axes.set(title=f"{what}, ms", xlabel="megapixels" if unit == "pixels" else unit, ylim=(0, None))
    figure.savefig(IMAGE, dpi=110)


if __name__ == "__main__":
    main()
