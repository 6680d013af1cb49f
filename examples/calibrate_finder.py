"""Fit the numbers that make the finder's score the chance that an annotator would label a person in a box.

    python -m examples.calibrate_finder coco_people/dev.json coco_people/images

Prints ``CALIBRATION`` of ``clickpose/first_guess/finder.py`` and the calibration error before and after. A box is right
if it overlaps a labelled person by an IoU of .5, the best box of each person only. Boxes on people without keypoints
(too small, hidden, or not annotated) are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clickpose.annotations import AnnotatedImage, Floats
from clickpose.evaluation.matching import labelled_persons
from clickpose.evaluation.reliability import expected_calibration_error, fit_logistic, logits
from clickpose.first_guess.finder import AS_SCORED, Found, NanoDetFinder
from clickpose.first_guess.networks import make_finder
from clickpose.poses import box_overlaps
from integrations.coco import read_coco

SAME_PERSON = 0.5  # IoU


def outcomes(found: Found, image: AnnotatedImage) -> Iterator[tuple[list[float], float]]:
    """Yield, for each box of an image, its score and size, and 1 or 0: whether it is a labelled person's."""
    persons, labelled = list(image.persons), labelled_persons(image)
    boxes_px = np.array([person.box_px for person in persons], np.float32).reshape(-1, 4)
    overlaps = box_overlaps(found.boxes_px, boxes_px)
    taken: set[int] = set()
    for box, score, overlap in zip(found.boxes_px, found.scores, overlaps, strict=True):
        same = [int(i) for i in np.argsort(-overlap) if overlap[i] >= SAME_PERSON]
        free = [i for i in same if persons[i] in labelled and i not in taken]
        taken.update(free[:1])
        if free or not same or any(persons[i] in labelled for i in same):
            size = float(np.sqrt(np.prod(box[2:] - box[:2]).clip(1) / np.prod(image.size_wh)))
            yield [float(score), size], float(bool(free))


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    options = parser.parse_args()
    finder = NanoDetFinder(make_finder(torch.device("cpu")).network, AS_SCORED)
    pairs = []
    for record in read_coco(options.annotations).images:
        with Image.open(options.images / record.file_name) as image:
            pairs += list(outcomes(finder(image.convert("RGB")), record))
    scores, sizes = np.array([seen for seen, _ in pairs]).T
    right: Floats = np.array([is_right for _, is_right in pairs])
    evidence = np.stack((logits(scores), np.log(sizes)), 1)
    weights = fit_logistic(evidence, right)
    chances = 1 / (1 + np.exp(-(evidence @ np.array(weights[:-1]) + weights[-1])))
    errors = [expected_calibration_error(values, right) for values in (scores, chances)]
    print("CALIBRATION = {}; expected calibration error {:.3f} before, {:.3f} after".format(weights, *errors))


if __name__ == "__main__":
    main()
