"""The result of a load test: numbers beside their bars, and a figure with the time of every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rich.table import Table

from serve.load.phases import LoadRecord, Plan
from serve.load.records import CLICKS, Request, failed, outcomes, percentile_ms
from serve.monitoring.timing import NAMES

NEEDS_ENCODING = (*CLICKS, "open", "box")
Row: TypeAlias = tuple[str, Any, str, bool]  # name, value, bar or "", whether the bar is met

REPAIR_S = 15.0  # a new replica starts, a new model is loaded
FLAT = 1.05  # memory at the end, as a share of that at half time
SLOW = 20  # the slowest twentieth of the clicks: those beyond the 95th percentile
SOON_MS = 1000  # the Retry-After of rejected programs


def summarise(story: LoadRecord, plan: Plan, model_ms: Mapping[str, float]) -> dict[str, Any]:
    """Return the numbers.

    Args:
        story: what happened.
        plan: of the test.
        model_ms: times of the predictor alone, on the quiet machine.
    """
    log, flood_s = story.log, story.marks["flood"]
    work = [request for request in log.of(NEEDS_ENCODING) if request.at_s < flood_s]
    clicks = [request for request in work if request.kind in CLICKS]
    hits, misses = (sum(counts) for counts in zip(*story.encoded.values(), strict=True))
    return {
        "requests": len(work),
        "clicks": story.clicks(),
        "failed_requests": len(failed(work)),
        "failed_by_reason": outcomes(failed(work)),
        "answered_by_a_retry": sum(request.retry and request.outcome == "ok" for request in work),
        "held_joints_placed": log.placed,
        "held_joints_lost": len(log.lost),
        "lost": log.lost[:20],
        "encode_hit_share_of_possible": round(hits / max(1, hits + misses - len(log.seen)), 4),
        "encode_hits": hits,
        "encode_misses": misses,
        "pictures_and_versions_seen": len(log.seen),
        "refine_p50_ms": percentile_ms(clicks, 50),
        "refine_p95_ms": percentile_ms(clicks, 95),
        "refine_p95_between_faults_ms": percentile_ms(_between_faults(story, clicks), 95),
        "refine_p99_ms": percentile_ms(clicks, 99),
        "refine_slowest_ms": percentile_ms(clicks, 100),
        "open_p50_ms": percentile_ms([request for request in work if request.kind == "open"], 50),
        "open_p95_ms": percentile_ms([request for request in work if request.kind == "open"], 95),
        "model_ms": dict(model_ms),
        "where_a_click_spends_ms": _where(_undisturbed(story, clicks)),
        "undisturbed": _undisturbed_numbers(story, clicks, model_ms["refine"]),
        "refine_p95_over_model_ms": round(percentile_ms(clicks, 95) - model_ms["refine"], 1),
        "faults": [{"fault": fault.name, "at_s": fault.at_s, **_around(story, fault.at_s)} for fault in log.faults],
        "flood": _flood(story, plan),
        "memory_mib": _memory(story),
        "memory_flat": all(one["growth_of_second_half"] <= FLAT for one in _memory(story).values()),
        "plan": {"annotators": plan.annotators, "every_s": plan.every_s, "seconds": plan.seconds, "pictures": 200},
    }


def _undisturbed(story: LoadRecord, requests: Sequence[Request]) -> list[Request]:
    """Return the requests of the first phase."""
    end_s = story.marks.get("faults", story.marks["flood"])
    return [one for one in requests if story.marks["work"] <= one.at_s < end_s]


def _undisturbed_numbers(story: LoadRecord, clicks: Sequence[Request], model_ms: float) -> dict[str, Any]:
    """Return what the first phase cost; processor time includes that of opening images."""
    end_s = story.marks.get("faults", story.marks["flood"])
    answered = [one for one in clicks if story.marks["work"] <= one.at_s < end_s]
    per_click = {part: round(1000 * cpu_s / max(1, len(answered)), 2) for part, cpu_s in story.cpu_s.items()}
    p95_ms = percentile_ms(_undisturbed(story, clicks), 95)
    return {"clicks": len(answered), "refine_p95_ms": p95_ms, "refine_p95_over_model_ms": round(p95_ms - model_ms, 1),
            "cpu_ms_per_click": per_click}  # fmt: skip


def _where(clicks: Sequence[Request]) -> dict[str, dict[str, float]]:
    """Return the median and the 95th percentile of each part of a click's time, and its mean among the slowest clicks.

    Means add up, percentiles do not.
    """
    timed = [one for one in clicks if one.outcome == "ok" and len(one.parts_ms) == len(NAMES)]
    parts = [_exclusive(one) for one in sorted(timed, key=lambda one: one.ms)]
    table = {name: [part[name] for part in parts] for name in (parts[0] if parts else ())}
    slowest = slice(-max(1, len(parts) // SLOW), None)
    return {
        name: {
            "p50": round(float(np.percentile(values, 50)), 1),
            "p95": round(float(np.percentile(values, 95)), 1),
            "slowest": round(float(np.mean(values[slowest])), 1),
        }
        for name, values in table.items()
    }


def _exclusive(click: Request) -> dict[str, float]:
    """Return the time of each part without the parts it contains."""
    ms = click.parts_ms
    return {
        "client, HAProxy, network": click.ms - ms["ingress"],
        "ingress": ms["ingress"] - ms["call"],
        "Ray, between ingress and replica": ms["call"] - ms["replica"],
        "replica: waiting for the model": ms["queue"],
        "replica: the model": ms["model"],
        "replica: everything else": ms["replica"] - ms["queue"] - ms["model"],
        "all": click.ms,
    }


def _flood(story: LoadRecord, plan: Plan) -> dict[str, Any]:
    """Return the numbers of the flood, and of the annotators meanwhile."""
    flooded = story.log.of(("flood",))
    refused = [request for request in flooded if request.outcome == "429"]
    clicks = story.log.of(CLICKS, story.marks["flood"])
    return {
        "per_second": 10 * plan.annotators / plan.every_s,
        "seconds": plan.flood_seconds,
        "outcomes": outcomes(flooded),
        "answered_p95_ms": percentile_ms(flooded, 95),
        "refused_p50_ms": _percentile(refused, 50),
        "refused_p95_ms": _percentile(refused, 95),
        "refused_without_retry_after": story.without_retry_after,
        "annotators": outcomes([request for request in clicks if request.at_s < story.marks["recovery"]]),
        "recovered_after_s": story.recovered_s,
    }


def _around(story: LoadRecord, at_s: float) -> dict[str, Any]:
    """Return the numbers of the five seconds after a fault."""
    after = [request for request in story.log.of(NEEDS_ENCODING, at_s) if request.at_s < at_s + 5]
    return {"slowest_ms": percentile_ms(after, 100), "failed": len(failed(after))}


def _between_faults(story: LoadRecord, requests: Sequence[Request]) -> list[Request]:
    """Return the requests sent while the service was not recovering from a fault."""
    faults = [fault.at_s for fault in story.log.faults]
    return [one for one in requests if not any(at_s <= one.at_s < at_s + REPAIR_S for at_s in faults)]


def _percentile(requests: list[Any], percent: float) -> float | None:
    return round(float(np.percentile([request.ms for request in requests], percent)), 1) if requests else None


def _memory(story: LoadRecord) -> dict[str, dict[str, Any]]:
    """Return each surviving replica's memory at half time and at the end, by clicks of all replicas together."""
    last = max((looks[-1][0] for looks in story.memory.values()), default=0)
    table = {}
    for name, looks in story.memory.items():
        if looks[-1][0] < last:
            continue  # killed
        first = looks[0][0]
        half = next(mib for clicks, mib in looks if clicks >= first + (last - first) / 2)
        table[name] = {
            "from_click": first,
            "half": round(half, 1),
            "end": round(looks[-1][1], 1),
            "growth_of_second_half": round(looks[-1][1] / half, 4),
        }
    return table


def make_table(result: Mapping[str, Any]) -> Table:
    """Return the numbers, each beside its bar."""
    table = Table("measured", "value", "bar", "", title="The service under load")
    for name, value, bar, good in [*_work_rows(result), *_flood_rows(result["flood"]), *_memory_rows(result)]:
        table.add_row(name, str(value), bar, "" if not bar else "[green]yes" if good else "[red]no")
    return table


def _work_rows(result: Mapping[str, Any]) -> list[Row]:
    times = ("refine_p50_ms", "refine_p95_ms", "refine_p95_between_faults_ms", "refine_slowest_ms")
    hits, over_ms = result["encode_hit_share_of_possible"], result["refine_p95_over_model_ms"]
    return [
        ("requests, clicks in all", f"{result['requests']}, {result['clicks']}", "", True),
        ("failed requests", result["failed_requests"], "0", result["failed_requests"] == 0),
        (f"held joints lost, of {result['held_joints_placed']}", result["held_joints_lost"], "0", not result["lost"]),
        ("encode hits, of those possible", hits, ">= 0.95", hits >= 0.95),
        ("refine p95 at the client over the model's own time, ms", over_ms, "<= 60", over_ms <= 60),
        ("refine p50, p95, p95 between faults, slowest, ms", ", ".join(str(result[name]) for name in times), "", True),
        (
            "undisturbed: p95 over the model's own time, ms",
            result["undisturbed"]["refine_p95_over_model_ms"],
            "<= 40",
            result["undisturbed"]["refine_p95_over_model_ms"] <= 40,
        ),
        ("undisturbed: processor time per click, ms", result["undisturbed"]["cpu_ms_per_click"], "", True),
        *(
            (f"{part}: p50, p95, mean of the slowest, ms", ", ".join(map(str, ms.values())), "", True)
            for part, ms in result["where_a_click_spends_ms"].items()
        ),
        ("open p50, p95, ms", f"{result['open_p50_ms']}, {result['open_p95_ms']}", "", True),
    ]


def _flood_rows(flood: Mapping[str, Any]) -> list[Row]:
    counts, recovered_s = flood["outcomes"], flood["recovered_after_s"]
    others = {outcome: count for outcome, count in counts.items() if outcome not in ("ok", "429")}
    return [
        ("flood: answered, rejected with 429", f"{counts.get('ok', 0)}, {counts.get('429', 0)}", "", True),
        ("flood: rejected without Retry-After", flood["refused_without_retry_after"], "0",
         flood["refused_without_retry_after"] == 0),
        ("flood: anything else", others or 0, "0", not others),
        ("flood: rejected within, p50, p95 ms", f"{flood['refused_p50_ms']}, {flood['refused_p95_ms']}", "<= 1000",
         flood["refused_p95_ms"] is None or flood["refused_p95_ms"] <= SOON_MS),
        ("flood: annotators meanwhile", flood["annotators"], "", True),
        ("recovered after the flood, s", recovered_s, "by itself", recovered_s is not None),
    ]  # fmt: skip


def _memory_rows(result: Mapping[str, Any]) -> list[Row]:
    growth = ", ".join(str(one["growth_of_second_half"]) for one in result["memory_mib"].values())
    return [("memory at the end, times that at half time", growth, f"<= {FLAT}", result["memory_flat"])]


def draw(story: LoadRecord, path: Path) -> None:
    """Draw the time of every answer, failed requests, and faults."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(11, 4.5), layout="constrained")
    for kinds, color, label in (
        (CLICKS, "tab:blue", "click or drag"),
        (("open",), "tab:orange", "open"),
        (("flood",), "0.75", "flood"),
    ):
        answered = [request for request in story.log.of(kinds) if request.outcome == "ok"]
        axes.scatter([r.at_s for r in answered], [r.ms for r in answered], s=3, color=color, label=label)
    bad = [request for request in failed(story.log.requests) if request.kind != "flood"]
    axes.scatter([r.at_s for r in bad], [r.ms for r in bad], s=20, marker="x", color="tab:red", label="failed")
    for fault in story.log.faults:
        axes.axvline(fault.at_s, color="0.4", linewidth=0.8)
        axes.text(fault.at_s, 0.99, f" {fault.name}", transform=axes.get_xaxis_transform(), va="top", fontsize=7)
    axes.axvspan(story.marks["flood"], story.marks["recovery"], color="tab:red", alpha=0.08)
    axes.set(yscale="log", xlabel="seconds", ylabel="ms until the answer")
    axes.legend(markerscale=3, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
