"""What passes through a network while it runs."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from clickpose.model import ClickPose
from clickpose.model.decoder import LayerOutput, LayerValues


@contextmanager
def watch(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, list[tuple[Any, Any]]]]:
    """Collect the (arguments, result) of every call of some modules."""
    calls: dict[nn.Module, list[tuple[Any, Any]]] = {module: [] for module in modules}

    def note(module: nn.Module, arguments: Any, result: Any) -> None:
        calls[module].append((arguments, result))

    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(note))
        yield calls


@dataclass(frozen=True)
class LayerCall:
    """One run of a decoder layer: queries' boxes ``(B, Q, 4)``, their encoding, and the raw answer ``(B, Q, D)``."""

    boxes: Tensor
    positions: Tensor
    raw: Tensor


def layer_calls(calls: list[tuple[Any, Any]], valid_ratios: Tensor) -> list[LayerCall]:
    """Read a watched decoder layer's calls; boxes are scaled back to the image without padding."""
    finest = valid_ratios[:, None, 0].repeat(1, 1, 2)
    return [LayerCall(references[:, :, 0] / finest, positions, raw) for (_, positions, references, *_), raw in calls]


def last_references(model: ClickPose, call: LayerCall, group: int, free: Tensor | float = 1.0) -> Tensor:
    """Where the last layer moves its references ``(B, N * G, 4)``; published, but used by nothing."""
    last, boxes, raw = len(model.decoder.layers) - 1, call.boxes, call.raw
    freedom = free[..., None] if isinstance(free, Tensor) else free
    moved = model.decoder._move_references(
        last, raw.unflatten(1, (-1, group)), boxes.unflatten(1, (-1, group)), freedom
    )
    return moved.flatten(1, 2)


@dataclass(frozen=True)
class Round:
    """One round of the feedback loop: what the pose layers were given, and what each said."""

    boxes: Tensor
    keypoints: Tensor
    free: Tensor
    layers: list[LayerOutput]


@dataclass
class WatchedLoop:
    """Stands in for a model in ``run_feedback`` and remembers every round."""

    model: ClickPose
    rounds: list[Round] = field(default_factory=list)

    @property
    def config(self) -> Any:
        return self.model.config

    def refine(self, boxes: Tensor, keypoints: Tensor, values: LayerValues, free: Tensor) -> list[LayerOutput]:
        layers = self.model.refine(boxes, keypoints, values, free)
        self.rounds.append(Round(boxes, keypoints, free, layers))
        return layers


def rows(x: Tensor, indices: Tensor) -> Tensor:
    """Select rows ``indices (B, M)`` of ``x (B, N, ...)``."""
    return torch.stack([image[i] for image, i in zip(x, indices, strict=True)])
