"""What a training step keeps in memory at 800 x 1333: ``python -m benchmarks.training_memory``.

The published recipe trains the published network on images of the largest published size, with the largest number of
rounds of clicks. On a GPU the peak is the allocator's. Without one, the step runs on the processor along the same paths
(sampling by ``grid_sample``, no compiled kernel), and the bytes of all live tensors are counted: weights, gradients,
AdamW's moments, moving average, activations. The memory of a GPU's libraries, and gaps between tensors, are not
included.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from benchmarks.measure import write_result
from benchmarks.training_step import batch_of
from clickpose.model import ClickPose, resnet50_coco
from clickpose.skeleton import Skeleton
from clickpose.synthetic import DrawnPeople
from clickpose.training.config import published
from clickpose.training.fast.attention import FastDeformableAttention
from clickpose.training.feedback import FeedbackConfig
from clickpose.training.loop import train_one_epoch
from clickpose.training.state import build_state

logger = logging.getLogger(__name__)
SIZE_WH = (1333, 800)
QUICK_SIZE_WH = (320, 240)
FORMS: dict[str, dict[str, Any]] = {
    "as published": {},
    "bfloat16": {"precision": "bfloat16"},
    "checkpoints": {"checkpoint_activations": True},
    "checkpoints and bfloat16": {"checkpoint_activations": True, "precision": "bfloat16"},
}
BATCH_SIZES = {form: (1, 2, 4) if "checkpoints" in form else (1, 2) for form in FORMS}  # 24 GB hold no more
GIB = 2**30


class LongestLoop(FeedbackConfig):
    """Draws the largest number of rounds that the published recipe may draw."""

    def draw_loop(self, num_keypoints: int, generator: torch.Generator | None = None) -> list[int]:
        """K rounds of one click."""
        return [1] * num_keypoints


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of all storages that live within its context, and the most there were."""

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live, self.peak = 0, 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and count its result."""
        result = func(*args, **(kwargs or {}))
        self.note(result)
        return result

    def note(self, tree: Any) -> None:
        """Count the tensors in any structure that are not yet counted."""
        for tensor in tree_iter(tree):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known.add(storage)
        weakref.finalize(storage, self._forget, size)
        self.live += size
        self.peak = max(self.peak, self.live)

    def _forget(self, size: int) -> None:
        self.live -= size


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    result = {"device": options.device, **measure_forms(options.device, options.forms, quick=options.quick)}
    if not options.quick:
        logger.info("wrote %s", write_result("training_memory", result))


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch")
    parser.add_argument("--quick", action="store_true", help="one small image, to try the script; writes no result")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    return options


def measure_forms(device: str, forms: Sequence[str] = tuple(FORMS), *, quick: bool = False) -> dict[str, Any]:
    """Return the memory of a step in each form and for each size of the batch that a card of 24 GB may hold."""
    size_wh = QUICK_SIZE_WH if quick else SIZE_WH
    found: dict[str, Any] = {"size_wh": size_wh}
    for form in forms:
        found[form] = {}
        for batch_size in (1,) if quick else BATCH_SIZES[form]:
            found[form][f"batch {batch_size}"] = memory = step_memory(FORMS[form], batch_size, size_wh, device)
            logger.info("%s, batch %d: %s", form, batch_size, json.dumps(memory))
    return found


def step_memory(changes: Mapping[str, Any], batch_size: int, size_wh: tuple[int, int], device: str) -> dict[str, float]:
    """Return the GiB that a step takes at its peak, and those of what stays from step to step."""
    config, skeleton = published(batch_size=batch_size, feedback=LongestLoop(), **changes), Skeleton.load("coco17")
    people = DrawnPeople(skeleton, num_images=batch_size, size_wh=size_wh, max_persons=6)
    few = DrawnPeople(skeleton, num_images=1, size_wh=QUICK_SIZE_WH, max_persons=6)
    torch.manual_seed(0)
    with measured(device) as memory:
        state = build_state(ClickPose(resnet50_coco()).to(device), skeleton, config)
        state.network.to(device)
        for part in state.network.modules():
            if isinstance(part, FastDeformableAttention):
                part.uses_kernel = False
        batches = [batch_of(drawn, resnet50_coco()) for drawn in (few, people)]  # the first makes AdamW's moments
        train_one_epoch(state, batches, config, steps_per_epoch=len(batches))
        stays = sum(
            tensor.untyped_storage().nbytes() for tensor in tree_iter(state.state_dict(0)) if torch.is_tensor(tensor)
        )
    return {"peak_gib": memory["peak"] / GIB, "stays_gib": stays / GIB}


@contextmanager
def measured(device: str) -> Iterator[dict[str, float]]:
    """Fill in the ``peak`` of tensors' bytes on a device when the context ends."""
    memory: dict[str, float] = {}
    gc.collect()
    if device == "cpu":
        with LiveTensors() as tensors:
            yield memory
        memory["peak"] = tensors.peak
    else:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        yield memory
        memory["peak"] = torch.cuda.max_memory_allocated()


if __name__ == "__main__":
    main()
