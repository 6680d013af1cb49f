"""Write the tables of docs/performance.md from benchmarks/results: ``python -m benchmarks.table``.

Every number on that page between its marks comes from a file that the command beside it has written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import RESULTS

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
Result = dict[str, Any]
COMMANDS = {
    "gpu": "sh benchmarks/gpu.sh",
    "click_time": "python -m benchmarks.serve_load --only-work --name click_time",
    "click_alone": "python -m benchmarks.serve_load --only-work --annotators 1 --think-seconds 0.3 --name click_alone",
    "startup": "python -m benchmarks.serve_load.startup",
}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: is measured.
        source: the benchmark that measures it; its results have the same name.
        value: of the results; a lower number is better unless the bar begins with ">=".
        bar: "<= 0.35 GFLOP": a sign, a number, a unit.
        beside: what else the results say about it.
    """

    what: str
    source: str
    value: Callable[[Result], float]
    bar: str
    beside: Callable[[Result], str] = lambda result: ""

    def line(self) -> str:
        """The line in Markdown; what has not been measured here says so."""
        command = f"`{COMMANDS.get(self.source, f'python -m benchmarks.{self.source}')}`"
        result = read(self.source)
        try:
            value, beside = (None, "") if result is None else (self.value(result), self.beside(result))
        except (KeyError, TypeError) as error:
            value, beside = None, f"{type(error).__name__} {error} in benchmarks/results/{self.source}.json"
        sign, limit, unit = self.bar.split(" ", 2) if self.bar.count(" ") > 1 else (*self.bar.split(), "")
        if value is None:
            return f"| {self.what} | {self.bar} | not measured here | | {beside} | {command} |"
        met = value <= float(limit) if sign == "<=" else value >= float(limit)
        return (
            f"| {self.what} | {self.bar} | {value:.3g} {unit} | {'yes' if met else '**no**'} | {beside} | {command} |"
        )


def read(name: str) -> Result | None:
    """Results of a benchmark, if it has run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def times(result: Result, *names: str) -> str:
    """Medians and fastest runs."""
    shown = (f"{name.removesuffix('_ms').replace('_', ' ')} {result[name]['median']:.4g}" for name in names)
    fastest = (f"{result[name]['min']:.4g}" for name in names)
    return f"{', '.join(shown)} ms (fastest {', '.join(fastest)})"


def largest(result: Result) -> str:
    """The difference of answers from the plain form's."""
    apart = result["largest_difference"]
    return f"plain form {result['plain_gflop']:.1f} GFLOP; logits {apart['logits']:.1e}"


ROWS = (
    Row(
        "a click on one person, 800 x 1088: arithmetic",
        "refine",
        lambda r: r["refine_one_person_gflop"],
        "<= 0.35 GFLOP",
        lambda r: f"published round {r['published_round_gflop']:.1f} GFLOP",
    ),
    Row(
        "the same: times as fast as a round of the published loop",
        "refine",
        lambda r: r["speedup_over_published_form"],
        ">= 12 x",
        lambda r: times(r, "refine_ms", "published_round_ms"),
    ),
    Row("full inference, 800 x 1088: arithmetic", "full", lambda r: r["full_gflop"], "<= 471 GFLOP", largest),
    Row(
        "the same: share of the plain form's time",
        "full",
        lambda r: r["share_of_plain_time"]["median"],
        "<= 0.55",
        lambda r: times(r, "full_ms", "plain_ms"),
    ),
    Row(
        "the same: largest difference of logits",
        "full",
        lambda r: r["largest_difference"]["logits"],
        "<= 2e-5",
    ),
    Row(
        "the same: largest difference of boxes and points",
        "full",
        lambda r: max(r["largest_difference"][name] for name in ("boxes", "keypoints")),
        "<= 1e-6",
    ),
    Row(
        "kept of an image, 800 x 1333, float32",
        "refine",
        lambda r: r["encoded_image_mb"]["float32"],
        "<= 100 MB",
    ),
    Row(
        "kept of an image, 800 x 1333, half precision",
        "refine",
        lambda r: r["encoded_image_mb"]["float16"],
        "<= 50 MB",
        lambda r: "moves keypoints by {median:.2g} px (median), {max:.2g} px at most".format(**r["float16_moves_px"]),
    ),
    Row(
        "demo model, two threads: encode and detect three persons",
        "demo",
        lambda r: r["encode_and_detect_ms"]["median"],
        "<= 90 ms",
        lambda r: times(r, "encode_and_detect_ms", "encode_and_detect_in_float32_ms"),
    ),
    Row(
        "demo model: a click, 95th percentile",
        "demo",
        lambda r: r["refine_ms"]["p95"],
        "<= 10 ms",
        lambda r: times(r, "refine_ms"),
    ),
    Row(
        "training step, batch 2, 480 x 640: share of the plain form's time",
        "training_step",
        lambda r: r["resnet50"]["fast"]["time_ratio"],
        "<= 0.65",
        lambda r: "of processor time {cpu_time_ratio:.2f}".format(**r["resnet50"]["fast"]),
    ),
    Row(
        "the same: share of the plain form's peak memory",
        "training_step",
        lambda r: r["resnet50"]["fast"]["memory_ratio"],
        "<= 0.6",
    ),
    Row(
        "twenty annotators, two replicas, one killed, the controller killed, two new models: failed requests",
        "serve_load",
        lambda r: r["failed_requests"],
        "<= 0 requests",
        lambda r: f"of {r['requests']}; {r['answered_by_a_retry']} answered by a retry",
    ),
    Row(
        "the same: placed keypoints that were lost",
        "serve_load",
        lambda r: r["held_joints_lost"],
        "<= 0 keypoints",
        lambda r: f"of {r['held_joints_placed']}",
    ),
    Row(
        "the same: images found encoded, of those that could be",
        "serve_load",
        lambda r: r["encode_hit_share_of_possible"],
        ">= 0.95",
    ),
    Row(
        "the same without faults: what a click waits beyond the model's own time, 95th percentile",
        "click_time",
        lambda r: r["undisturbed"]["refine_p95_over_model_ms"],
        "<= 40 ms",
        lambda r: "p95 {refine_p95_ms} ms, {ratio:.1f} times the model's own".format(
            **r["undisturbed"], ratio=r["undisturbed"]["refine_p95_ms"] / r["model_ms"]["refine"]
        ),
    ),
    Row(
        "ten times the requests: refused within, 95th percentile",
        "serve_load",
        lambda r: r["flood"]["refused_p95_ms"],
        "<= 1000 ms",
        lambda r: "{refused_p50_ms} ms (median); of {outcomes}".format(**r["flood"]),
    ),
    Row(
        "memory of a replica at the end, times that after half of the clicks",
        "serve_load",
        lambda r: max(one["growth_of_second_half"] for one in r["memory_mib"].values()),
        "<= 1.05",
        lambda r: f"{r['clicks']} clicks",
    ),
    Row(
        "on a GPU: a click's share of full inference; the paper's is 12 of 48 ms",
        "gpu",
        lambda r: r["float32"]["refine_over_full"],
        "<= 0.25",
        lambda r: times(r["float32"], "refine_ms", "full_ms"),
    ),
    Row(
        "the same with the click's arithmetic as a CUDA graph",
        "gpu",
        lambda r: r["graph"]["refine_ms"]["median"] / r["float32"]["full_ms"]["median"],
        "<= 0.08",
        lambda r: times(r["graph"], "refine_ms"),
    ),
)


def main() -> None:
    """Rewrite the text between the marks."""
    head = ["| what | bar | measured | met | beside it | command |", "|---|---|---|---|---|---|"]
    page = PAGE.read_text()
    page = between(page, "table", "\n".join([*head, *(row.line() for row in ROWS)]))
    page = between(page, "parts", "\n".join(parts()))
    page = between(page, "click", "\n".join(click()))
    page = between(page, "startup", "\n".join(startup()))
    PAGE.write_text(between(page, "machines", "\n".join(machines())))


def parts() -> list[str]:
    """Every part in its forms: fastest runs."""
    lines = ["| part | fastest run of each form, ms |", "|---|---|"]
    for part, forms in (read("parts") or {}).items():
        if part != "machine":
            shown = " · ".join(f"{form} {times['min']:.4g}" for form, times in forms.items())
            lines.append(f"| {part} | {shown} |")
    return lines


def click() -> list[str]:
    """Where a click's time goes, of one annotator and of twenty."""
    alone, busy = read("click_alone"), read("click_time")
    if alone is None or busy is None:
        return [f"Not measured here yet: `{COMMANDS['click_alone']}`, `{COMMANDS['click_time']}`"]
    lines = [
        "| part | one annotator: median, ms | twenty: median | 95th percentile | mean of the slowest twentieth |",
        "|---|---|---|---|---|",
    ]
    for part, ms in busy["where_a_click_spends_ms"].items():
        median_ms = alone["where_a_click_spends_ms"][part]["p50"]
        lines.append(f"| {part} | {median_ms} | {ms['p50']} | {ms['p95']} | {ms['slowest']} |")
    return lines


def startup() -> list[str]:
    """What the start of the service takes."""
    seconds = (read("startup") or {"seconds": {}})["seconds"]
    return ["| stage | seconds |", "|---|---|", *(f"| {stage} | {took_s} |" for stage, took_s in seconds.items())]


def machines() -> list[str]:
    """The machine of each benchmark."""
    lines = []
    for name in sorted({row.source for row in ROWS} | {"parts", "scaling"}):
        result = read(name)
        if result is not None:
            machine = result["machine"]
            where = (
                machine["gpu"] or f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} thread(s)"
            )
            lines.append(f"- {name}: {where}, torch {machine['torch']}, load {machine['load_before']} before")
    return lines


def between(page: str, mark: str, text: str) -> str:
    """Put text between a mark's beginning and its end."""
    pattern = rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)"
    return re.sub(pattern, lambda found: f"{found[1]}{text}\n{found[2]}", page, flags=re.DOTALL)


if __name__ == "__main__":
    main()
