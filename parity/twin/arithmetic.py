"""The building blocks, in numpy and in double precision."""

from functools import cache

import numpy as np

from parity.draws import draw_weight

Array = np.ndarray
EPS = 1e-3  # of the inverse sigmoid


@cache
def weight(name: str, *shape: int) -> Array:
    return draw_weight(name, shape).astype(np.float64)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(x, -700, 700)))


def inverse_sigmoid(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return np.log(np.maximum(x, EPS) / np.maximum(1 - x, EPS))


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def linear(x: Array, name: str, size: int) -> Array:
    return x @ weight(f"{name}.weight", size, x.shape[-1]).T + weight(f"{name}.bias", size)


def perceptron(x: Array, name: str, *sizes: int) -> Array:
    """Linear layers with a ReLU between any two."""
    for i, size in enumerate(sizes):
        x = linear(np.maximum(x, 0) if i else x, f"{name}.layers.{i}", size)
    return x


def layer_norm(x: Array, name: str) -> Array:
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * weight(f"{name}.weight", x.shape[-1]) + weight(f"{name}.bias", x.shape[-1])


def group_norm(x: Array, name: str, groups: int = 32) -> Array:
    """Normalise a map ``(C, H, W)`` in groups of channels."""
    grouped = x.reshape(groups, -1)
    grouped = (grouped - grouped.mean(1, keepdims=True)) / np.sqrt(grouped.var(1, keepdims=True) + 1e-5)
    scale, shift = weight(f"{name}.weight", len(x)), weight(f"{name}.bias", len(x))
    return grouped.reshape(x.shape) * scale[:, None, None] + shift[:, None, None]


def convolve(x: Array, name: str, channels: int, size: int, stride: int = 1) -> Array:
    """Convolve a map ``(C, H, W)``, padded so that a stride of 1 keeps its size; without a bias."""
    kernel, pad = weight(f"{name}.weight", channels, len(x), size, size), size // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]
    return np.tensordot(kernel, windows, ((1, 2, 3), (0, 3, 4)))


def sine_encoding(x: Array, temperature: float) -> Array:
    """Encode angles in 128 channels, sine and cosine in turn."""
    channel = np.arange(128)
    angle = x[..., None] / temperature ** (2 * (channel // 2) / 128)
    return np.where(channel % 2 == 0, np.sin(angle), np.cos(angle))
