"""Turn a trained model into ``models/demo``: half precision, measured, with a card that says how it came about.

    clickpose train lspet14/train.json --images lspet14/images --preset mobilenet_v2_demo --recipe demo \
        --backbone-weights mobilenet_v2.safetensors --run runs/demo-1 --out runs/demo-1/model
    clickpose train lspet14/train.json --images lspet14/images --init runs/demo-1/model --recipe demo-finishing \
        --run runs/demo-2 --out runs/demo-2/model
    clickpose train lspet14/train.json --images lspet14/images --init runs/demo-2/model --recipe demo-clicks \
        --run runs/demo-3 --out runs/demo-3/model
    python examples/demo_model.py runs/demo-3/model models/demo "$(history)" lspet14/val.json lspet14/images \
        coco_small_val.json coco_small/images

where the third argument tells how it was trained; it is measured on pictures like those, and on pictures unlike them.

The data are LSP Extended in CrowdPose-14 order, cropped to the person plus 30 %, and 61 pictures of COCO 2017 val with
COCO's annotations. They may not be passed on.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import typer
from rich.progress import Progress

from clickpose.annotations import AnnotationSet, convert_set
from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.evaluation import evaluate, keypoint_ap
from clickpose.evaluation.click_cost import clicks_per_person
from clickpose.model import ClickPose
from clickpose.predictor import Predictor
from integrations.coco import read_coco
from pipeline.dataset import PictureFolder

SHOWN = {
    "AP": "AP, every hypothesis counted, as published",
    "AP50": "AP50",
    "AP75": "AP75",
    "AR": "AR",
    "distinct/AP": "AP of distinct persons, scored by agreement, as annotators are shown them",
    "distinct/AP50": "AP50 of distinct persons",
    "distinct/AP75": "AP75 of distinct persons",
    "AP@C0": "AP@C0 (published protocol, persons keep their first scores)",
    "AP@C1/first_scores": "AP@C1",
    "AP@C2/first_scores": "AP@C2",
    "AP@C3/first_scores": "AP@C3",
    "AP@C4/first_scores": "AP@C4",
    "AP@C1/by_hand": "AP@C1 by hand: the click alone",
    "AP@C4/by_hand": "AP@C4 by hand",
    "AP@C1": "AP@C1, all persons scored anew in the loop, as published",
    "AP@C4": "AP@C4, all persons scored anew in the loop",
    "mean_oks@C1": "mean OKS after a click",
    "mean_oks@C1/by_hand": "mean OKS after a click, by hand",
    "mean_oks@C4": "mean OKS after four clicks",
    "mean_oks@C4/by_hand": "mean OKS after four clicks, by hand",
    "NoC@85/first_scores": "NoC@85, published protocol (rounds a picture, at most 14), first scores",
    "NoC@90/first_scores": "NoC@90, first scores",
    "NoC@95/first_scores": "NoC@95, first scores",
    "NoC@85": "NoC@85, scored anew",
    "clicks@85": "clicks a person to OKS .85, with refine",
    "clicks@85/as_shown": "the same, going on from the pose shown whatever the click says (`reconsider` off)",
    "clicks@85/unsure": "the same, however unsure the refine is of its answer (`min_confidence` 0)",
    "harm@85": "share of good keypoints that a refine spoilt on the way to .85",
    "harm@85/unsure": "the same, `min_confidence` 0",
    "manual_clicks@85": "clicks a person to OKS .85, by hand",
    "clicks@90": "clicks a person to OKS .90, with refine",
    "manual_clicks@90": "clicks a person to OKS .90, by hand",
    "harm@90": "share of good keypoints that a refine spoilt on the way to .90",
    "help@90": "share of bad keypoints that a refine mended on that way",
    "max_held_drift_px@90": "px a placed keypoint moved, at most",
}

CARD = """# clickpose demo model

A small Click-Pose (MobileNetV2, {weights:.1f} million weights, 192 to 256 px, 14 keypoints in CrowdPose order). It
shows the loop on a laptop; it does not compete.

- **Data**: Leeds Sports Pose Extended (Johnson and Everingham, 2011), 6,000 pictures of one athlete each, up to four
  pasted into a scene. The data state no licence and are not part of this repository; the weights saw them.
- **Backbone**: ImageNet MobileNetV2 of google-coral/test_data (Apache-2.0), dequantised; trained further here.
- **Training**: {history}
- **Machine**: {machine}, one thread of a 2-core CPU, no GPU.
- **Licence**: Apache-2.0.

Measured on 250 other pictures of the same data, one person each, with
`clickpose evaluate models/demo lspet14/val.json --images lspet14/images`:

| | |
|---|---|
{rows}

Pictures unlike those, 61 of COCO 2017 val with {persons} persons, many of them small, sitting or half hidden
(`clickpose evaluate models/demo coco_small_val.json --images coco_small/images`):

| | |
|---|---|
{elsewhere}

The pictures of athletes are hard (parkour, gymnastics, athletics). Left and right are often mistaken for each other,
small people and crowds often missed. Scores of the loop flatter: a held keypoint wears a mark, and who wears one is
somebody.

The input size was chosen on 61 pictures of COCO 2017, and `min_confidence` on 61 of its training pictures and half of
the athletes. At 160 to 224 pixels: AP {small[AP]:.3f} and AP50 {small[AP50]:.3f} of all hypotheses,
{small[distinct/AP]:.3f} and {small[distinct/AP50]:.3f} of distinct persons. How hypotheses are merged, scored and
reconsidered was worked out on the pictures of athletes, and these weights were preferred to the ones before them on
all pictures named here, so the last digits flatter.
"""


def main(
    trained: Path, out: Path, history: str, data: Path, images: Path, other_data: Path, other_images: Path
) -> None:
    torch.set_num_threads(1)
    model = load_model(trained)
    save_model(out, model.network, model.skeleton, metrics={}, card="", dtype=torch.float16)
    annotations = read_coco(data)
    pictures = PictureFolder(str(images))
    with Progress() as progress:
        task = progress.add_task("measuring", total=len(annotations))
        metrics = evaluate(
            Predictor.load(out), annotations, pictures, progress=lambda done, _: progress.update(task, completed=done)
        )
    as_shown = clicks_per_person(changed(out, reconsider=False), annotations, pictures, oks_threshold=0.85)
    metrics["clicks@85/as_shown"] = as_shown.mean_clicks
    metrics |= clicks_to_85(changed(out, min_confidence=0.0), annotations, pictures, "/unsure")
    others = convert_set(read_coco(other_data), model.skeleton)
    other_pictures = PictureFolder(str(other_images))
    elsewhere = clicks_to_85(Predictor.load(out), others, other_pictures)
    elsewhere |= clicks_to_85(changed(out, min_confidence=0.0), others, other_pictures, "/unsure")
    small = average_precision(changed(out, short_side_px=160, long_side_px=224), annotations, pictures)
    weights = sum(p.numel() for p in model.network.parameters()) / 1e6
    card = CARD.format(
        weights=weights,
        history=history,
        machine=platform.machine(),
        rows=table(metrics),
        persons=int(elsewhere["persons"]),
        elsewhere=table(elsewhere),
        small=small,
    )
    (out / "card.md").write_text(card)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")


def clicks_to_85(
    predictor: Predictor, annotations: AnnotationSet, pictures: PictureFolder, suffix: str = ""
) -> dict[str, float]:
    """Clicks and harm, with refine and by hand, under the names of ``SHOWN``."""
    cost = clicks_per_person(predictor, annotations, pictures, oks_threshold=0.85)
    found = {"clicks@85": cost.mean_clicks, "harm@85": cost.harm}
    by_hand = {"manual_clicks@85": cost.manual_mean_clicks, "persons": cost.num_persons}
    return {f"{name}{suffix}": value for name, value in found.items()} | by_hand


def table(metrics: Mapping[str, float | None]) -> str:
    """The lines of those that are shown."""
    shown = ((name, metrics.get(key)) for key, name in SHOWN.items())
    return "\n".join(f"| {name} | {value:.3f} |" for name, value in shown if value is not None)


def changed(folder: Path, **changes: Any) -> Predictor:
    """The same model with another setting."""
    model = load_model(folder)
    network = ClickPose(replace(model.network.config, **changes))
    network.load_state_dict(model.network.state_dict())
    return Predictor(network, model.skeleton)


def average_precision(predictor: Predictor, annotations: AnnotationSet, pictures: PictureFolder) -> dict[str, float]:
    """AP and AP50 of all hypotheses and of distinct persons."""
    encoded = {image.id: predictor.encode(pictures(image)) for image in annotations.images}
    every = {i: predictor.hypotheses(picture) for i, picture in encoded.items()}
    distinct = {i: predictor.detect(picture, min_score=0.0) for i, picture in encoded.items()}
    of_distinct = {f"distinct/{name}": value for name, value in keypoint_ap(annotations, distinct).items()}
    return keypoint_ap(annotations, every) | of_distinct


if __name__ == "__main__":
    typer.run(main)
