"""Turn trained pose layers into ``models/demo``: calibrated, half precision.

    clickpose train coco_people/train.json lspet17/train.json voc_people/voc_people.json \\
        --images coco_people/images --images lspet14/images --images voc_people/images \\
        --weight 1 --weight .25 --weight .1 --preset person_frame --recipe person-frame --run runs/demo --out trained
    python -m examples.demo_model trained models/demo coco_people/dev.json coco_people/images
    python -m benchmarks.click_economy --set ...            # the numbers of its card

The calibration (Platt, 1999) makes the score of a keypoint the chance that it lies within tolerance, on images that
nothing was trained on. The card is written by hand.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from clickpose.annotations import AnnotationSet
from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.evaluation.reliability import ReliabilityMeter, expected_calibration_error, fit_calibration
from clickpose.evaluation.visits import LoadImage, visit_images
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.predictor import Predictor
from integrations.coco import read_coco
from pipeline.dataset import ImageFolder


def measure(predictor: Predictor, data: tuple[AnnotationSet, LoadImage]) -> ReliabilityMeter:
    """Return the scores of every keypoint shown, and whether each was within tolerance."""
    meter = ReliabilityMeter(predictor.skeleton)
    visit_images(predictor, *data, [meter])
    return meter


def main() -> None:
    """Calibrate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("trained", "out", "annotations", "images"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    model, card = load_model(options.trained), options.out / "card.md"
    assert isinstance(model.network, PersonFrameNetwork), "these pose layers do not work in the person's frame"
    data = read_coco(options.annotations), ImageFolder(str(options.images))
    before = measure(Predictor(model.network.with_settings(calibration=(1.0, 0.0)), model.skeleton), data)
    calibration = fit_calibration(before.chances, before.right)
    network = model.network.with_settings(calibration=calibration)
    after = measure(Predictor(network, model.skeleton), data)
    errors = [expected_calibration_error(meter.chances, meter.right) for meter in (before, after)]
    text = card.read_text() if card.exists() else "# Demo model\n"
    save_model(options.out, network, model.skeleton, metrics={}, card=text, dtype=torch.float16)
    print("calibration {}; expected calibration error {:.3f} before, {:.3f} after".format(calibration, *errors))


if __name__ == "__main__":
    main()
