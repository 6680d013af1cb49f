"""Inference on a GPU, and memory in training: ``sh benchmarks/gpu.sh``.

Each step writes its result, and one that fails the reason.
Precisions: "float32" is exact (no TF32 anywhere), "tf32" lets products and convolutions round to 10 bits, "float16"
keeps images and multiplies in half precision (autocast). Coordinates are float32 in all of them.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.full import differences, full
from benchmarks.measure import interleaved, machine, summary
from benchmarks.subject import arguments, build_network, build_predictor, draw_photo
from clickpose.annotations import Click
from clickpose.inference.choices import gathering_pays
from clickpose.model import ClickPose
from clickpose.model.decoder import LayerOutput, LayerValues
from clickpose.model.inputs import input_size, to_tensor
from clickpose.predictor import Predictor
from clickpose.whole_image import WholeImage
from parity.plain import PERSONS_PER_ROUND, PlainForm

logger = logging.getLogger(__name__)
BUDGET_S = 420  # after this long no further step begins


class Study:
    """One network on one device, and the results so far."""

    def __init__(self, model: ClickPose, device: str, repeats: int, path: Path) -> None:
        self.repeats, self.path, self.started = repeats, path, time.monotonic()
        self.found: dict[str, Any] = {"machine": machine(), "device": device}
        self.plain, self.predictor = PlainForm(model.to(device)), build_predictor(model, device)
        config = model.config
        photo = Image.fromarray(draw_photo())
        size = input_size(photo.size, config.short_side_px, config.long_side_px)
        self.images = to_tensor(photo.resize(size), config)[None].to(device)

    def step(self, name: str, measure: Callable[[], Any]) -> None:
        """Measure something, unless time is up, and save the results so far, also after an error."""
        if time.monotonic() - self.started > BUDGET_S:
            self.found[name] = "not measured: no time left"
        else:
            logger.info("%s ...", name)
            try:
                self.found[name] = measure()
            except Exception as error:
                self.found[name] = f"failed: {type(error).__name__}: {error}"[:500]
                logger.info("%s", traceback.format_exc())
        logger.info("%s: %s (%.0f s)", name, self.found[name], time.monotonic() - self.started)
        self.path.write_text(json.dumps(self.found, indent=2) + "\n")

    def times(self, forms: dict[str, Callable[[], object]]) -> dict[str, Any]:
        """Time forms in turns."""
        return {f"{name}_ms": summary(times) for name, times in interleaved(forms, self.repeats, warm_up=3).items()}

    # -- steps

    def sampling(self) -> dict[str, Any]:
        """Return the variant of sampling that was chosen."""
        return {"gather": gathering_pays(self.predictor.device)}

    def precision(self, name: str) -> dict[str, Any]:
        """Times of full inference and of a refine, and how far answers are from the plain form in float32."""
        with settings("float32"):
            memory, expected = self.plain.full(self.images)
        network, predictor = self.predictor.network, self.predictor
        with settings(name, self.images.device.type):
            answer = full(network, self.images)
            values = self.values(torch.float16 if name == "float16" else torch.float32)
            one = persons(expected, 1)
            found = self.times(
                {
                    "full": lambda: full(network, self.images),
                    "plain_full": lambda: self.plain.full(self.images),
                    "refine": lambda: refine(network, values, *one),
                    "published_round": lambda: self.plain.loop_round(memory, *persons(expected, PERSONS_PER_ROUND)[:2]),
                }
            )
            found |= self.whole_refine(predictor)
        ratio = found["refine_ms"]["median"] / found["full_ms"]["median"]
        return found | {"refine_over_full": ratio, "largest_difference": differences(answer, expected)}

    def whole_refine(self, predictor: Predictor) -> dict[str, Any]:
        """``Predictor.refine``, pixels in and pixels out."""
        encoded = predictor.encode(draw_photo())
        poses = predictor.hypotheses(encoded)
        clicks = [Click(0, "left_wrist", (400.0, 300.0))]
        return self.times({"predictor_refine": lambda: predictor.refine(encoded, poses, clicks)})

    @torch.no_grad()
    def values(self, keep: torch.dtype = torch.float32) -> LayerValues:
        """The data that are kept of the image."""
        network = self.predictor.network
        values: LayerValues = network.decoder.pose_values(network.encode(self.images))
        return values.kept_as(keep)

    def graph(self) -> dict[str, Any]:
        """A refine recorded once as a CUDA graph and played again."""
        network, values = self.predictor.network, self.values()
        one = persons(full(network, self.images), 1)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                expected = refine(network, values, *one)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = refine(network, values, *one)
        graph.replay()
        torch.cuda.synchronize()
        return self.times({"refine": graph.replay}) | {"largest_difference": differences(answer, expected)}

    def compiled(self) -> dict[str, Any]:
        """A refine through torch.compile."""
        network, values = self.predictor.network, self.values()
        one = persons(full(network, self.images), 1)
        compiled = torch.compile(refine, dynamic=False)
        start = time.monotonic()
        answer, expected = compiled(network, values, *one), refine(network, values, *one)
        found: dict[str, Any] = {"compile_s": time.monotonic() - start}
        found |= self.times({"refine": lambda: compiled(network, values, *one)})
        return found | {"largest_difference": differences(answer, expected)}

    def prelabelling(self) -> dict[str, float]:
        """Images per second of the labeller, which reads and writes files, and of the network alone."""
        from benchmarks.prelabel import beside_network  # needs PyArrow, which the other steps do not

        form = self.predictor.form
        assert isinstance(form, WholeImage)
        images = self.images.expand(form.max_together, -1, -1, -1).contiguous()
        alone = partial(full, self.predictor.network, images)
        return beside_network(self.predictor, alone, form.max_together, min(self.repeats, 5))


@torch.no_grad()  # torch.compile takes no tensors of the inference mode
def refine(network: ClickPose, values: LayerValues, boxes: Tensor, keypoints: Tensor, free: Tensor) -> LayerOutput:
    """One round of the loop."""
    return network.refine(boxes, keypoints, values, free)[-1]


def persons(output: LayerOutput, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, keypoints and freedom of the first persons; the first keypoint of each is held."""
    assert output.keypoints is not None
    boxes, keypoints = output.boxes[:, :count].clone(), output.keypoints[:, :count].clone()
    free = torch.ones_like(keypoints[..., 0])
    free[..., 0] = 0
    return boxes, keypoints, free


@contextlib.contextmanager
def settings(precision: str, device_type: str = "cuda") -> Iterator[None]:
    """Multiply in a precision."""
    backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = precision != "float32"
    with torch.autocast(device_type, torch.float16, enabled=precision == "float16"):
        yield
    for backend, value in zip(backends, before, strict=True):
        backend.allow_tf32 = value


def training_memory(device: str, quick: bool) -> dict[str, Any]:
    """What a training step of each form keeps; see ``benchmarks.training_memory``."""
    from benchmarks.training_memory import measure_forms  # needs SciPy, which the other steps do not

    return measure_forms(device, quick=quick)


def main() -> None:
    """Take all steps."""
    chosen = arguments(__doc__, device="cuda", out="benchmarks/results/gpu.json")
    model = copy.deepcopy(build_network(chosen.quick))
    study = Study(model, chosen.device, chosen.repeats or (3 if chosen.quick else 30), Path(chosen.out))
    study.step("sampling", study.sampling)
    for precision in ("float32", "tf32", "float16"):
        study.step(precision, partial(study.precision, precision))
    if chosen.device != "cpu":
        study.step("graph", study.graph)
    study.step("prelabelling", study.prelabelling)
    study.step("compiled", study.compiled)
    study.step("training_memory", lambda: training_memory(chosen.device, chosen.quick))


if __name__ == "__main__":
    main()
