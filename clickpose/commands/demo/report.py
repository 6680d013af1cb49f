"""What the demo leaves behind: one table, a JSON file, and a folder of images to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from clickpose.commands.demo.pictures import DemoPictures
from clickpose.commands.demo.player import AnnotationCost
from clickpose.commands.demo.story import Story
from clickpose.evaluation.plots import click_curve, draw_poses
from clickpose.images import read_image
from clickpose.skeleton import Skeleton
from integrations.label_studio.service import is_gap

OVERLAYS = 6


def results(story: Story, report: Path) -> dict[str, Any]:
    """Collect the numbers of a demo as plain values."""
    failed = story.before.failed_requests + story.annotated.failed_requests + story.after.failed_requests
    answers_ms = story.before.answers_ms + story.annotated.answers_ms + story.after.answers_ms
    assert story.round is not None
    return {
        "pictures": story.pictures,
        "failed_pictures": story.failed_pictures,
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
        "webhooks": story.webhooks,
        "seconds": story.seconds,
        "report": str(report),
    }


def table(numbers: dict[str, Any]) -> Table:
    """Show the numbers to people."""
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
        "annotations that came back, webhooks": f"{numbers['annotations_exported']}, {numbers['webhooks']}",
        "fine-tuned model": f"{'promoted' if numbers['promoted'] else 'not promoted'}: {numbers['reason']}",
        "model versions in service": " -> ".join(numbers["model_versions"]),
        "report": numbers["report"],
    }
    for name, value in rows.items():
        shown.add_row(name, value)
    return shown


def write_report(folder: Path, story: Story, pictures: DemoPictures, skeleton: Skeleton) -> dict[str, Any]:
    """Write ``report.md``, overlays before and after, and the click curve of the round; return the numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = results(story, folder)
    lines = ["# Click-Pose demo", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in numbers.items()]
    files = {file.name: file for file in pictures.files}
    for name, (first, last) in list(story.poses.items())[:OVERLAYS]:
        for state, poses in (("before", first), ("after", last)):
            overlay = f"{Path(name).stem}-{state}.png"
            shown = [pose for pose in poses if not is_gap(pose)]
            draw_poses(read_image(files[name]), shown, skeleton).save(folder / overlay)
        lines += ["", f"## {name}", "", "Predicted, then corrected; rings mark what the annotator placed.", ""]
        lines += [f"![before]({Path(name).stem}-before.png) ![after]({Path(name).stem}-after.png)"]
    if story.round and story.round.challenger:
        models = {"first model": story.round.parent_metrics, "fine-tuned": story.round.challenger_metrics}
        click_curve(models).savefig(folder / "click-curve.png")
        lines += ["", "## Precision against clicks on the held-back images", "", "![curve](click-curve.png)"]
    (folder / "report.md").write_text("\n".join(lines) + "\n")
    return numbers


def _before_after(story: Story, name: str) -> dict[str, float]:
    return {"before": _clicks(story.before, name), "after": _clicks(story.after, name)}


def _clicks(cost: AnnotationCost, name: str) -> float:
    return round(cost.per_person(getattr(cost, name)), 3)


def _arrow(values: dict[str, float]) -> str:
    return f"{values['before']:.2f} before the round, {values['after']:.2f} after"
