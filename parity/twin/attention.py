"""Attention: among tokens, and deformable into the four maps of an image."""

from dataclasses import dataclass

import numpy as np

from parity.twin.arithmetic import Array, linear, softmax, weight

DIM, HEADS, POINTS = 256, 8, 4


@dataclass(frozen=True)
class Maps:
    """The tokens of an image: contents ``(S, 256)``, padding ``(S,)``, and each level's size and valid share."""

    content: Array
    padding: Array
    shapes: list[tuple[int, int]]
    valid_wh: Array


def self_attention(x: Array, positions: Array, name: str) -> Array:
    """Let tokens ``(N, 256)`` of one group see each other."""
    matrix, bias = weight(f"{name}.in_proj_weight", 3 * DIM, DIM), weight(f"{name}.in_proj_bias", 3 * DIM)
    sources = x + positions, x + positions, x
    parts = zip(sources, np.split(matrix, 3), np.split(bias, 3), strict=True)
    query, key, value = (source @ m.T + b for source, m, b in parts)
    heads = []
    for head in range(HEADS):
        one = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
        heads.append(softmax(query[:, one] @ key[:, one].T / np.sqrt(DIM // HEADS)) @ value[:, one])
    return linear(np.concatenate(heads, 1), f"{name}.out_proj", DIM)


def deformable_attention(query: Array, references: Array, maps: Maps, name: str) -> Array:
    """Look at 4 points in each of 4 maps; references ``(N, 4, 2 or 4)``, one for each level."""
    value = linear(maps.content, f"{name}.value_proj", DIM)
    value[maps.padding] = 0
    levels = len(maps.shapes)
    offsets = linear(query, f"{name}.sampling_offsets", HEADS * levels * POINTS * 2)
    offsets = offsets.reshape(-1, HEADS, levels, POINTS, 2)
    shares = softmax(
        linear(query, f"{name}.attention_weights", HEADS * levels * POINTS).reshape(-1, HEADS, levels * POINTS)
    )
    shares = shares.reshape(-1, HEADS, levels, POINTS)
    result, first = np.zeros((len(query), HEADS, DIM // HEADS)), 0
    for level, (height, width) in enumerate(maps.shapes):
        here = value[first : first + height * width].reshape(height, width, HEADS, -1)
        first += height * width
        for head in range(HEADS):
            for point in range(POINTS):
                offset, reference = offsets[:, head, level, point], references[:, level]
                scale = 1 / np.array([width, height]) if reference.shape[1] == 2 else reference[:, 2:] * 0.5 / POINTS
                sampled = bilinear(here[:, :, head], reference[:, :2] + offset * scale)
                result[:, head] += shares[:, head, level, point, None] * sampled
    return linear(result.reshape(-1, DIM), f"{name}.output_proj", DIM)


def bilinear(values: Array, xy: Array) -> Array:
    """Read a map ``(H, W, C)`` at places in [0, 1]; what is outside is 0."""
    height, width = values.shape[:2]
    x, y = xy[:, 0] * width - 0.5, xy[:, 1] * height - 0.5
    result = np.zeros((len(xy), values.shape[2]))
    for dx in (0, 1):
        for dy in (0, 1):
            column, row = np.floor(x).astype(int) + dx, np.floor(y).astype(int) + dy
            share = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            result[inside] += share[inside, None] * values[row[inside], column[inside]]
    return result
