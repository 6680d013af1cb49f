"""From an image to its memory: ResNet-50, projection, positions and six encoder layers."""

from dataclasses import dataclass

import numpy as np

from parity.twin.arithmetic import Array, convolve, group_norm, layer_norm, linear, sine_encoding, weight
from parity.twin.attention import DIM, Maps, deformable_attention

STAGES = {1: 3, 2: 4, 3: 6, 4: 3}  # blocks of ResNet-50
ENCODER_LAYERS = 6
LEVELS = 4


@dataclass(frozen=True)
class Encoded:
    """An image's memory, and what was on the way to it."""

    features: list[Array]
    projected: Array
    positions: Array
    first_layer: Array
    memory: Maps


def encode(image: Array, padding: Array) -> Encoded:
    """Encode an image ``(3, H, W)`` of a batch with its padding ``(H, W)``."""
    features = resnet(image)
    projected = [
        group_norm(convolve(x, f"input_proj.{i}.0", DIM, 1) + bias(i), f"input_proj.{i}.1")
        for i, x in enumerate(features)
    ]
    smallest = convolve(features[-1], "input_proj.3.0", DIM, 3, 2) + bias(3)
    projected.append(group_norm(smallest, "input_proj.3.1"))
    masks = [shrink(padding, x.shape[1:]) for x in projected]
    level_embed = weight("transformer.level_embed", LEVELS, DIM)
    positions = np.concatenate([image_positions(mask) + level_embed[i] for i, mask in enumerate(masks)])
    content = np.concatenate([x.reshape(DIM, -1).T for x in projected])
    valid_wh = np.array([[(~mask[0]).sum() / mask.shape[1], (~mask[:, 0]).sum() / mask.shape[0]] for mask in masks])
    maps = Maps(content, np.concatenate([mask.ravel() for mask in masks]), [mask.shape for mask in masks], valid_wh)
    layers = [content]
    for i in range(ENCODER_LAYERS):
        layers.append(encoder_layer(Maps(layers[-1], maps.padding, maps.shapes, valid_wh), positions, i))
    return Encoded(features, content, positions, layers[1], Maps(layers[-1], maps.padding, maps.shapes, valid_wh))


def bias(level: int) -> Array:
    return weight(f"input_proj.{level}.0.bias", DIM)[:, None, None]


def resnet(x: Array) -> list[Array]:
    body, features = "backbone.0.body", []
    x = np.maximum(frozen_norm(convolve(x, f"{body}.conv1", 64, 7, 2), f"{body}.bn1"), 0)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    x = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2].max((3, 4))
    for stage, blocks in STAGES.items():
        for block in range(blocks):
            stride = 2 if stage > 1 and block == 0 else 1
            x = bottleneck(x, f"{body}.layer{stage}.{block}", 32 * 2**stage, stride, block == 0)
        features.append(x)
    return features[1:]


def bottleneck(x: Array, name: str, width: int, stride: int, widens: bool) -> Array:
    y = np.maximum(frozen_norm(convolve(x, f"{name}.conv1", width, 1), f"{name}.bn1"), 0)
    y = np.maximum(frozen_norm(convolve(y, f"{name}.conv2", width, 3, stride), f"{name}.bn2"), 0)
    y = frozen_norm(convolve(y, f"{name}.conv3", 4 * width, 1), f"{name}.bn3")
    if widens:
        x = frozen_norm(convolve(x, f"{name}.downsample.0", 4 * width, 1, stride), f"{name}.downsample.1")
    return np.maximum(x + y, 0)


def frozen_norm(x: Array, name: str) -> Array:
    scale, shift, mean, variance = (
        weight(f"{name}.{part}", len(x))[:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def shrink(mask: Array, shape: tuple[int, ...]) -> Array:
    """Take the nearest value above and to the left."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def image_positions(mask: Array) -> Array:
    """Encode row and column of each cell ``(H * W, 256)``; padding does not count."""
    y, x = (~mask).cumsum(0), (~mask).cumsum(1)
    y, x = y / (y[-1:] + 1e-6) * 2 * np.pi, x / (x[:, -1:] + 1e-6) * 2 * np.pi
    return np.concatenate([sine_encoding(y, 20), sine_encoding(x, 20)], -1).reshape(-1, DIM)


def encoder_layer(maps: Maps, positions: Array, i: int) -> Array:
    name, x = f"transformer.encoder.layers.{i}", maps.content
    references = np.concatenate([centres(shape, wh) for shape, wh in zip(maps.shapes, maps.valid_wh, strict=True)])
    references = references[:, None] * maps.valid_wh
    x = layer_norm(x + deformable_attention(x + positions, references, maps, f"{name}.self_attn"), f"{name}.norm1")
    hidden = np.maximum(linear(x, f"{name}.linear1", 2048), 0)
    return layer_norm(x + linear(hidden, f"{name}.linear2", DIM), f"{name}.norm2")


def centres(shape: tuple[int, ...], valid_wh: Array) -> Array:
    """Centres of cells ``(H * W, 2)``, in units of the image without its padding."""
    height, width = shape
    row, column = np.divmod(np.arange(height * width), width)
    return np.stack([(column + 0.5) / (valid_wh[0] * width), (row + 0.5) / (valid_wh[1] * height)], 1)
