"""The demo model on two threads, with a photo of three persons: ``python -m benchmarks.demo``. Takes seconds."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from PIL import Image

from benchmarks.measure import interleaved, summary, write_result
from benchmarks.subject import arguments
from clickpose.annotations import Click
from clickpose.checkpoints.model_folder import load_model
from clickpose.first_guess.networks import make_finder
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.person_frame.person_frame import PersonFrame
from clickpose.predictor import Predictor

logger = logging.getLogger(__name__)
CPU = torch.device("cpu")
MODEL, PHOTOS, NUM_PERSONS = "models/demo", Path("examples/pictures/images"), 3


def photo_of(predictor: Predictor, num_persons: int) -> Image.Image:
    """Return the first of the shipped photos in which the model shows so many persons."""
    photos = (Image.open(path).convert("RGB") for path in sorted(PHOTOS.iterdir()))
    return next(photo for photo in photos if len(predictor.detect(predictor.encode(photo))) == num_persons)


def in_float32() -> PersonFrame:
    """Return the model with finder and looker in full precision, on any processor."""
    loaded = load_model(MODEL)
    assert isinstance(loaded.network, PersonFrameNetwork)
    looker = loaded.network.make_looker(CPU, torch.float32)
    return PersonFrame(loaded.network, loaded.skeleton, make_finder(CPU, torch.float32), looker)


def main() -> None:
    """Time a first look at a photo, with all of it in float32 too, and a click."""
    chosen = arguments(__doc__)
    torch.set_num_threads(chosen.threads or 2)
    predictor = Predictor.load(MODEL, device="cpu")
    photo = photo_of(predictor, NUM_PERSONS)
    encoded = predictor.encode(photo)
    poses = predictor.detect(encoded)
    exact = in_float32()
    click = Click(0, predictor.skeleton.keypoints[3], (300.0, 200.0))
    forms = {
        "encode_and_detect": lambda: predictor.detect(predictor.encode(photo)),
        "encode_and_detect_in_float32": lambda: exact.encode(photo),
        "refine": lambda: predictor.refine(encoded, poses, [click]),
    }
    times = interleaved(forms, chosen.repeats or 300, warm_up=10)
    result: dict[str, object] = {f"{name}_ms": summary(times_ms) for name, times_ms in times.items()}
    result["model"] = f"{MODEL}, {NUM_PERSONS} persons, {photo.width} x {photo.height} pixels"
    logger.info("%s", result)
    if not chosen.quick:
        logger.info("%s", write_result("demo", result))


if __name__ == "__main__":
    main()
