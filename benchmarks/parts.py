"""Variants of each part compared: ``python -m benchmarks.parts``. A minute or two on two cores.

Tokens are those of 800 x 1088 unless a name says otherwise.
"""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measure import interleaved, summary, write_result
from benchmarks.scaling import draw_encoded, level_shapes
from benchmarks.subject import SIZE_WH, arguments, build_network
from clickpose.inference import prepare
from clickpose.inference.choices import choose_kernels
from clickpose.inference.onednn import packed_linear
from clickpose.inference.products import Product
from clickpose.inference.sampling import sample_by_gather
from clickpose.model import ClickPose
from clickpose.model.encoder import Tokens, encoder_references
from clickpose.model.sampling import sample_by_grid
from clickpose.training.fast.kernel import can_compile, sample_compiled

logger = logging.getLogger(__name__)
Forms = dict[str, Callable[[], object]]


@torch.inference_mode()
def main() -> None:
    """Time every part in its forms."""
    chosen = arguments(__doc__)
    model = build_network(chosen.quick)
    network, result = prepare(model), {}
    parts: dict[str, Forms] = {
        "backbone": backbone(model, network),
        "sampling of an encoder layer": sampling(model),
        "encoder layer": encoder_layer(model, network),
        "feed-forward block": feed_forward(model, network),
        "attention among 900 queries": query_attention(model, network),
        "refine of one person, network alone": refine(model, network),
        "product of 18 x 256 by 256 x 256": product(18, 256, 256),
        "product of 18 x 256 by 256 x 2048": product(18, 256, 2048),
        "product of 2048 x 256 by 256 x 2048": product(2048, 256, 2048),
    }
    for name, forms in parts.items():
        repeats = chosen.repeats or (200 if "product" in name else 30 if "refine" in name else 4)
        result[name] = {form: summary(times) for form, times in interleaved(forms, repeats, warm_up=1).items()}
        logger.info("%s: %s", name, {form: round(times["min"], 3) for form, times in result[name].items()})
    if not chosen.quick:
        logger.info("%s", write_result("parts", result))


def backbone(model: ClickPose, network: ClickPose) -> Forms:
    """Channels first and last, norms folded or not."""
    images = torch.randn(1, 3, *reversed(SIZE_WH))
    first = copy.deepcopy(model.backbone).to(memory_format=torch.contiguous_format)
    return {
        "channels first, as published": lambda: first(images),
        "channels last": lambda: model.backbone(images),
        "norms and ReLUs folded in": lambda: network.backbone(images),
    }


def tokens(model: ClickPose) -> Tokens:
    """Memory at random."""
    shapes = level_shapes(SIZE_WH, model.config.num_levels)
    content = torch.randn(1, sum(h * w for h, w in shapes), model.config.width)
    return Tokens(content, None, shapes, torch.tensor([[[w, h] for h, w in shapes]]).float())


def sampling(model: ClickPose) -> Forms:
    """Two variants of sampling at learned places."""
    memory, attention = tokens(model), model.encoder.layers[0].attention
    values = attention.project_values(memory.content, None)
    places = (model.config.num_heads, model.config.num_levels, model.config.num_points)
    offsets = torch.randn(1, memory.content.shape[1], *places, 2) * 2
    locations = attention._locate(offsets, encoder_references(memory)[:, :, None, :, None], memory.shapes)
    weights = torch.rand(locations.shape[:-1])
    forms: Forms = {
        "grid_sample": lambda: sample_by_grid(values, memory.shapes, locations, weights),
        "weighted gather": lambda: sample_by_gather(values, memory.shapes, locations, weights),
    }
    if can_compile():
        forms["compiled, as in training"] = lambda: sample_compiled(values, memory.shapes, locations, weights)
    return forms


def encoder_layer(model: ClickPose, network: ClickPose) -> Forms:
    """All tokens at once or a few thousand at a time."""
    memory = tokens(model)
    references, positions = encoder_references(memory), torch.zeros_like(memory.content)
    at_once = copy.copy(network.encoder.layers[0])
    at_once.at_once = sys.maxsize  # type: ignore[assignment]
    layers = {"plain": model.encoder.layers[0], "all tokens at once": at_once, "in parts": network.encoder.layers[0]}
    return {name: partial(layer, memory, positions, references) for name, layer in layers.items()}


def feed_forward(model: ClickPose, network: ClickPose) -> Forms:
    """Products with and without the ReLU inside."""
    x, plain, fused = (
        tokens(model).content,
        model.encoder.layers[0].feed_forward,
        network.encoder.layers[0].feed_forward,
    )
    return {
        "plain": lambda: plain(x),
        "packed": lambda: fused(x),
        "packed, 2048 tokens at a time": lambda: [fused(part) for part in x.split(2048, 1)],
    }


def query_attention(model: ClickPose, network: ClickPose) -> Forms:
    """PyTorch's module with and without writing weights out, and ours."""
    x = torch.randn(1, 900, model.config.width)
    plain, ours = (form.decoder.layers[0].self_attention for form in (model, network))
    return {
        "weights written out": lambda: plain(x, x, x),
        "plain": lambda: plain(x, x, x, need_weights=False),
        "two products and SDPA": lambda: ours(x, x, x),
    }


def refine(model: ClickPose, network: ClickPose) -> Forms:
    """A round for one person, with projected values."""
    values = draw_encoded(model.config, SIZE_WH).values
    boxes, keypoints = torch.full((1, 1, 4), 0.4), torch.rand(1, 1, model.config.num_keypoints, 2)
    return {
        "trained form": lambda: model.refine(boxes, keypoints, values),
        "inference form": lambda: network.refine(boxes, keypoints, values),
    }


def product(rows: int, width: int, out: int) -> Forms:
    """PyTorch's own product, oneDNN's, and the one chosen by size."""
    x, linear = torch.randn(1, rows, width), nn.Linear(width, out)
    chosen = Product.of(linear)
    choose_kernels(chosen)

    def packed() -> Tensor:
        assert chosen.packed is not None
        return packed_linear(x, chosen.packed, chosen.bias, "none")

    forms: Forms = {"plain": lambda: F.linear(x, linear.weight, linear.bias), "chosen": lambda: chosen(x)}
    return forms if chosen.packed is None else forms | {"packed": packed}


if __name__ == "__main__":
    main()
