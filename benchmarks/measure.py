"""Times of several variants, measured alternately, so that other load on the machine affects all of them."""

from __future__ import annotations

import json
import math
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

RESULTS = Path(__file__).parent / "results"


def _linear_flop(x: Sequence[int], weight: Sequence[int], *_: object, **__: object) -> int:
    return 2 * math.prod(x) * weight[0]


def _convolution_flop(
    x: Sequence[int], weight: Sequence[int], *_: object, out_shape: Sequence[int], **__: object
) -> int:
    return 2 * x[0] * math.prod(out_shape[-2:]) * math.prod(weight)


ONEDNN: dict[Any, Any] = {  # the counter does not know oneDNN's operators by itself
    torch.ops.mkldnn._linear_pointwise: _linear_flop,
    torch.ops.mkldnn._convolution_pointwise: _convolution_flop,
}


def interleaved(forms: Mapping[str, Callable[[], object]], repeats: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Run every form ``repeats`` times, one after the other in each round; milliseconds by form."""
    for _ in range(warm_up):
        for form in forms.values():
            form()
    times_ms: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(repeats):
        for name, form in forms.items():
            start = time.perf_counter()
            form()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times_ms[name].append((time.perf_counter() - start) * 1000)
    return times_ms


def summary(times_ms: list[float]) -> dict[str, float]:
    """Median, minimum and 95th percentile of times in milliseconds."""
    ordered = sorted(times_ms)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"median": statistics.median(ordered), "min": ordered[0], "p95": p95}


def gflop(form: Callable[[], object]) -> float:
    """Count the floating-point operations of one call, in 10^9: those of products, convolutions and attention."""
    with FlopCounterMode(display=False, custom_mapping=ONEDNN) as counter:
        form()
    return float(counter.get_total_flops()) / 1e9


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> dict[str, Any]:
    """Describe what the numbers were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def write_result(name: str, result: Mapping[str, Any]) -> Path:
    """Write a benchmark's numbers to ``results/NAME.json``, with the machine that they come from."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({**result, "machine": machine()}, indent=2) + "\n")
    return path


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
