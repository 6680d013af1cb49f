"""The report of the demo: a table, a JSON file, and a page with images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from clickpose.commands.demo.images import DemoImages
from clickpose.commands.demo.player import AnnotationCost, Corrected
from clickpose.commands.demo.story import DemoRecord
from clickpose.evaluation.plots import click_curve, draw_poses
from clickpose.images import read_image
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import is_gap

SHOWN = 3  # images of each kind
TITLES = {"Well done": "the fewest clicks per person", "Badly done": "the most clicks per person"}
AFTER_CLICKS = re.compile(r"AP@C\d+")


def results(story: DemoRecord, report: Path) -> dict[str, Any]:
    """Collect the numbers of a demo as plain values."""
    failed = story.before.failed_requests + story.annotated.failed_requests + story.after.failed_requests
    answers_ms = story.before.answers_ms + story.annotated.answers_ms + story.after.answers_ms
    assert story.round is not None
    return {
        "pictures": story.num_labelled,
        "failed_pictures": story.num_failed,
        "persons": story.annotated.persons + story.before.persons,
        "requests": len(answers_ms) + failed + story.heartbeats[0],
        "failed_requests": failed + story.heartbeats[1],
        "clicks_per_person": {
            "manual": _before_after(story, "manual_clicks"),
            "refine": _before_after(story, "clicks"),
        },
        "clicks_per_person_annotating": {
            "manual": _clicks(story.annotated, "manual_clicks"),
            "refine": _clicks(story.annotated, "clicks"),
        },
        "clicks_undone": story.before.undone + story.annotated.undone + story.after.undone,
        "answer_ms": {f"p{q}": round(float(np.percentile(answers_ms, q)), 1) if answers_ms else None for q in (50, 95)},
        "model_versions": story.models,
        "promoted": story.round.promoted,
        "reason": story.round.reason,
        "annotations_exported": story.exported,
        "seconds": story.seconds,
        "report": str(report),
    }


def table(numbers: dict[str, Any]) -> Table:
    """Show the numbers."""
    clicks, answer_ms = numbers["clicks_per_person"], numbers["answer_ms"]
    shown = Table(title="Click-Pose demo: every number measured in this run", show_header=False)
    rows = {
        "images pre-labelled": str(numbers["pictures"]),
        "persons annotated and measured": str(numbers["persons"]),
        "clicks per person, by hand, unseen images": _arrow(clicks["manual"]),
        "clicks per person, with refine, unseen images": _arrow(clicks["refine"]),
        "clicks per person while annotating, by hand": f"{numbers['clicks_per_person_annotating']['manual']:.2f}",
        "clicks per person while annotating, with refine": f"{numbers['clicks_per_person_annotating']['refine']:.2f}",
        "answer to a click, p50 and p95": f"{answer_ms['p50']} ms, {answer_ms['p95']} ms",
        "clicks that reached another person": str(numbers["clicks_undone"]),
        "requests, of which failed": f"{numbers['requests']}, {numbers['failed_requests']}",
        "annotations that came back": str(numbers["annotations_exported"]),
        "fine-tuned model": f"{'promoted' if numbers['promoted'] else 'not promoted'}: {numbers['reason']}",
        "model versions in service": " -> ".join(numbers["model_versions"]),
        "report": numbers["report"],
    }
    for name, value in rows.items():
        shown.add_row(name, value)
    return shown


def write_report(folder: Path, story: DemoRecord, images: DemoImages, skeleton: Skeleton) -> dict[str, Any]:
    """Write ``report.md`` with its images; return the numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = results(story, folder)
    easiest_first = sorted(story.corrected, key=lambda name: _per_person(story.corrected[name].cost))
    half = min(SHOWN, len(easiest_first) // 2)
    well, badly = easiest_first[:half], easiest_first[::-1][:half]
    lines = ["# Click-Pose demo", "", *_sentences(story, numbers), "", *_cost_table(numbers), ""]
    files = {file.name: file for file in images.files}
    for title, names in (("Well done", well), ("Badly done", badly)):
        lines += [f"## {title}: {TITLES[title]}", ""]
        for name in names:
            lines += _draw_states(folder, files[name], story.corrected[name], skeleton)
    lines += _curve(folder, story)
    (folder / "report.md").write_text("\n".join(lines) + "\n")
    return numbers


def _sentences(story: DemoRecord, numbers: dict[str, Any]) -> list[str]:
    """Say in words what happened, and how long it took."""
    assert story.round is not None
    clicks, answer_ms, cost = numbers["clicks_per_person_annotating"], numbers["answer_ms"], story.annotated
    minutes = sum(story.seconds.values()) / 60
    failed = f"{numbers['failed_requests'] or 'none'} of {numbers['requests']} requests"
    return [
        f"{story.num_labelled} images were labelled by the model and shown in Label Studio. A simulated annotator, who"
        f" knows the truth, corrected {cost.persons} persons on {len(story.corrected)} of them:"
        f" {clicks['refine']:.2f} clicks per person, against {clicks['manual']:.2f} without a model that follows.",
        "",
        f"Half of the clicks were answered within {answer_ms['p50']} ms, 95 % within {answer_ms['p95']} ms."
        f" Failed: {failed}.",
        "",
        f"Then the model was fine-tuned on what was corrected, and"
        f" {'promoted' if story.round.promoted else 'not promoted'}: {story.round.reason}.",
        "",
        f"All of it took {minutes:.1f} minutes:",
        "",
        *(f"- {seconds / 60:.1f} minutes: {name}" for name, seconds in story.seconds.items()),
    ]


def _cost_table(numbers: dict[str, Any]) -> list[str]:
    """Show clicks per person, by hand and with refine."""
    unseen, annotating = numbers["clicks_per_person"], numbers["clicks_per_person_annotating"]
    rows = [
        ("images that were corrected", annotating["manual"], annotating["refine"]),
        ("unseen images, first model", unseen["manual"]["before"], unseen["refine"]["before"]),
        ("unseen images, model in service at the end", unseen["manual"]["after"], unseen["refine"]["after"]),
    ]
    lines = ["| clicks per person | by hand | with refine |", "|---|---|---|"]
    return lines + [f"| {name} | {manual:.2f} | {refine:.2f} |" for name, manual, refine in rows]


def _draw_states(folder: Path, file: Path, corrected: Corrected, skeleton: Skeleton) -> list[str]:
    """Draw an image in its three states; return the lines that show it."""
    image, cost, links = read_image(file), corrected.cost, []
    states = {"before": corrected.first, "after-one-click": corrected.after_one, "after": corrected.last}
    for state, poses in states.items():
        drawn = f"{file.stem}-{state}.jpg"
        draw_poses(image, [pose for pose in poses if not is_gap(pose)], skeleton).save(folder / drawn, quality=85)
        links.append(f"![{state.replace('-', ' ')}]({drawn})")
    persons, made = _number(cost.persons, "person"), _number(cost.clicks, "click")
    clicks = f"{file.name}: {persons}, {made}, {cost.manual_clicks} by hand."
    return [f"{clicks} Before, after one click, after all; a ring marks what was placed.", "", " ".join(links), ""]


def _curve(folder: Path, story: DemoRecord) -> list[str]:
    """Draw how precision rises with clicks, one line for each of the two models."""
    if not story.round or not story.round.challenger:
        return []
    models = {"first model": story.round.parent_metrics, "fine-tuned": story.round.challenger_metrics}
    lines = {
        name: {key: metrics[key] for key in metrics if AFTER_CLICKS.fullmatch(key)} for name, metrics in models.items()
    }
    click_curve(lines).savefig(folder / "click-curve.png")
    return ["## Precision after n clicks, on images held back from training", "", "![curve](click-curve.png)"]


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _per_person(cost: AnnotationCost) -> float:
    return cost.per_person(cost.clicks)


def _before_after(story: DemoRecord, name: str) -> dict[str, float]:
    return {"before": _clicks(story.before, name), "after": _clicks(story.after, name)}


def _clicks(cost: AnnotationCost, name: str) -> float:
    return round(cost.per_person(getattr(cost, name)), 3)


def _arrow(values: dict[str, float]) -> str:
    return f"{values['before']:.2f} before the round, {values['after']:.2f} after it"
