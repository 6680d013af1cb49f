"""How many annotators a core serves, and how many images fit in memory: ``python -m benchmarks.serve_load.capacity``.

Reads ``results/``: a load test's, named by ``--result``, ``refine.json`` and ``full.json``; encodes a picture with the
demo model. Writes the tables of
``docs/capacity.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import RESULTS
from benchmarks.table import between
from clickpose.images import read_image
from clickpose.predictor import Predictor

ROOT = Path(__file__).parents[2]
PAGE, MODEL = ROOT / "docs" / "capacity.md", ROOT / "models" / "demo"
THREE_PERSONS = ROOT / "examples" / "pictures" / "images" / "000000252219.jpg"
BUSY = 0.6  # share of a core that may be used: beyond it, clicks wait for each other
CLICKS_PER_IMAGE = 10
THINK_S = (2, 5, 10)


def main() -> None:
    """Rewrite the tables."""
    parser = argparse.ArgumentParser(description="Write the tables of docs/capacity.md.")
    parser.add_argument("--result", default="serve_load", help="of a load test")
    load = _read(parser.parse_args().result)
    page = between(PAGE.read_text(), "annotators", "\n".join(annotators(load)))
    PAGE.write_text(between(page, "images", "\n".join(images())))


def annotators(load: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table: processor time per click, and annotators per core."""
    demo_ms = load["undisturbed"]["cpu_ms_per_click"]
    around_ms = sum(demo_ms.values()) - demo_ms["replicas"]
    large_ms = _read("refine")["refine_ms"]["median"] + _read("full")["full_ms"]["median"] / CLICKS_PER_IMAGE
    threads = _read("full")["machine"]["threads"]
    yield f"| model | processor time per click, ms | {' | '.join(f'one click in {s} s' for s in THINK_S)} |"
    yield f"|---|---|{'---|' * len(THINK_S)}"
    yield _row("demo", sum(demo_ms.values()))
    yield _row("ResNet-50, 800 x 1088", large_ms * threads + around_ms)


def _row(model: str, click_ms: float) -> str:
    counts = " | ".join(f"{int(BUSY * 1000 * think_s / click_ms)}" for think_s in THINK_S)
    return f"| {model} | {click_ms:.1f} | {counts} |"


def images() -> Iterator[str]:
    """Yield a table: memory per encoded image, and images per gigabyte."""
    large = _read("refine")["encoded_image_mb"]
    yield "| model | MB per image | images per GB | with `--half-cache` |"
    yield "|---|---|---|---|"
    yield _memory_row("demo, 640 x 428, three persons", demo_mb(torch.float32), demo_mb(torch.float16))
    yield _memory_row("ResNet-50, 800 x 1333", large["float32"], large["float16"])


def demo_mb(keep: torch.dtype) -> float:
    """Return the memory of one encoded image of the demo model."""
    predictor = Predictor.load(MODEL, keep=keep)
    return predictor.encode(read_image(THREE_PERSONS)).num_bytes / 1e6


def _memory_row(model: str, full_mb: float, half_mb: float) -> str:
    return f"| {model} | {full_mb:.1f} | {int(1000 / full_mb)} | {int(1000 / half_mb)} |"


def _read(name: str) -> dict[str, Any]:
    return dict(json.loads((RESULTS / f"{name}.json").read_text()))


if __name__ == "__main__":
    main()
