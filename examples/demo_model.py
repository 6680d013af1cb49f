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
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from clickpose.annotations import AnnotationSet, Floats
from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.evaluation.matching import labelled_persons, match_by_oks
from clickpose.oks import within_tolerance
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.predictor import Predictor
from integrations.coco import read_coco
from pipeline.dataset import PictureFolder

NUM_BINS = 10


def outcomes(predictor: Predictor, annotations: AnnotationSet, images: PictureFolder) -> tuple[Floats, Floats]:
    """Return the chance of every keypoint shown ``(n,)``, and whether it was within tolerance: 1 or 0."""
    pairs = list(_outcomes(predictor, annotations, images))
    return np.concatenate([chance for chance, _ in pairs]), np.concatenate([right for _, right in pairs])


def _outcomes(
    predictor: Predictor, annotations: AnnotationSet, images: PictureFolder
) -> Iterator[tuple[Floats, Floats]]:
    for image in annotations.images:
        poses, persons = predictor.detect(predictor.encode(images(image))), labelled_persons(image)
        for pose, person in match_by_oks(poses, persons, predictor.skeleton).items():
            labelled = persons[person].visibility > 0
            right = within_tolerance(poses[pose].keypoints_px, persons[person], predictor.skeleton.sigmas)
            yield poses[pose].scores[labelled], right[labelled].astype(np.float32)


def calibrate(chances: Floats, right: Floats) -> tuple[float, float]:
    """Fit scale and shift of the logits by maximum likelihood."""
    bounded = np.clip(chances, 1e-6, 1 - 1e-6)
    logits = np.log(bounded / (1 - bounded))

    def loss(parameters: Floats) -> float:
        margin = (2 * right - 1) * (parameters[0] * logits + parameters[1])
        return float(np.logaddexp(0, -margin).mean())

    scale, shift = minimize(loss, [1.0, 0.0], method="Nelder-Mead").x
    return round(float(scale), 3), round(float(shift), 3)


def with_calibration(network: PersonFrameNetwork, calibration: tuple[float, float]) -> PersonFrameNetwork:
    """Return a copy of the network with another calibration."""
    copy = PersonFrameNetwork(replace(network.frame_config, calibration=calibration))
    copy.load_state_dict(network.state_dict())
    return copy


def expected_calibration_error(chances: Floats, right: Floats) -> float:
    """Return the mean distance between chance and outcome over ten bins of chances, weighted by their size."""
    bins = np.minimum((chances * NUM_BINS).astype(int), NUM_BINS - 1)
    return float(
        sum(
            abs(chances[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean()
            for b in range(NUM_BINS)
            if (bins == b).any()
        )
    )


def main() -> None:
    """Calibrate and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("trained", "out", "annotations", "images"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args()
    model, card = load_model(options.trained), options.out / "card.md"
    assert isinstance(model.network, PersonFrameNetwork), "these pose layers do not work in the person's frame"
    data = read_coco(options.annotations), PictureFolder(str(options.images))
    before = outcomes(Predictor(with_calibration(model.network, (1.0, 0.0)), model.skeleton), *data)
    calibration = calibrate(*before)
    network = with_calibration(model.network, calibration)
    after = outcomes(Predictor(network, model.skeleton), *data)
    errors = {"before": expected_calibration_error(*before), "after": expected_calibration_error(*after)}
    text = card.read_text() if card.exists() else "# Demo model\n"
    save_model(options.out, network, model.skeleton, metrics={}, card=text, dtype=torch.float16)
    print(f"calibration {calibration}; expected calibration error {errors['before']:.3f} before, {errors['after']:.3f}")


if __name__ == "__main__":
    main()
