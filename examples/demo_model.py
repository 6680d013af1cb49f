"""Turn a trained model into ``models/demo``: half precision, measured, with a card that says how it came about.

    clickpose train lspet14/train.json --images lspet14/images --preset mobilenet_v2_demo --recipe demo \
        --backbone-weights mobilenet_v2.safetensors --run runs/demo-1 --out runs/demo-1/model
    clickpose train lspet14/train.json --images lspet14/images --init runs/demo-1/model --recipe demo-finishing \
        --run runs/demo-2 --out runs/demo-2/model
    clickpose train lspet14/train.json --images lspet14/images --init runs/demo-2/model --recipe demo-clicks \
        --run runs/demo-3 --out runs/demo-3/model
    python examples/demo_model.py runs/demo-3/model lspet14/val.json lspet14/images models/demo "$(history)"

where the last argument tells how it was trained.

The data are LSP Extended in CrowdPose-14 order, cropped to the person plus 30 %. They may not be passed on.
"""

import json
import platform
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from clickpose.annotations import AnnotationSet
from clickpose.evaluation import evaluate, keypoint_ap
from clickpose.evaluation.click_cost import clicks_per_person
from clickpose.model import ClickPose
from clickpose.model_folder import load_model, save_model
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
    "manual_clicks@85": "clicks a person to OKS .85, by hand",
    "clicks@90": "clicks a person to OKS .90, with refine",
    "manual_clicks@90": "clicks a person to OKS .90, by hand",
    "harm@90": "share of good keypoints that a refine spoilt",
    "help@90": "share of bad keypoints that a refine mended",
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

These are hard pictures (parkour, gymnastics, athletics). Left and right are often mistaken for each other, small people
and crowds often missed. Scores of the loop flatter: a held keypoint wears a mark, and who wears one is somebody.

The input size was chosen on other pictures, 61 of COCO. At 160 to 224 pixels: AP {small[AP]:.3f} and AP50
{small[AP50]:.3f} of all hypotheses, {small[distinct/AP]:.3f} and {small[distinct/AP50]:.3f} of distinct persons. How
hypotheses are merged, scored and reconsidered was worked out on these pictures, so the last digits flatter.
"""


def main(trained: Path, data: Path, images: Path, out: Path, history: str) -> None:
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
    small = average_precision(changed(out, short_side_px=160, long_side_px=224), annotations, pictures)
    rows = "\n".join(f"| {name} | {metrics[key]:.3f} |" for key, name in SHOWN.items() if metrics.get(key) is not None)
    weights = sum(p.numel() for p in model.network.parameters()) / 1e6
    card = CARD.format(weights=weights, history=history, machine=platform.machine(), rows=rows, small=small)
    (out / "card.md").write_text(card)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")


def changed(folder: Path, **changes: Any) -> Predictor:
    """The same model with another setting."""
    model = load_model(folder)
    network = ClickPose(replace(model.network.config, **changes))
    network.load_state_dict(model.network.state_dict())
    return Predictor(network, model.skeleton)


def average_precision(predictor: Predictor, annotations: AnnotationSet, pictures: PictureFolder) -> dict[str, float]:
    """AP and AP50 of all hypotheses and of distinct persons."""
    encoded = {image.id: predictor.encode(pictures(image)) for image in annotations.images}
    every = {i: predictor.detect(picture, min_score=0.0, max_overlap=1.0) for i, picture in encoded.items()}
    distinct = {i: predictor.detect(picture, min_score=0.0) for i, picture in encoded.items()}
    of_distinct = {f"distinct/{name}": value for name, value in keypoint_ap(annotations, distinct).items()}
    return keypoint_ap(annotations, every) | of_distinct


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:5]), sys.argv[5])
