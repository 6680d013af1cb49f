"""The published protocols against numbers of the released model (synthetic weights), where they are at hand."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation, Pose
from clickpose.evaluation.annotators import SimulatedAnnotator
from clickpose.evaluation.click_style import EVERY_KEYPOINT, PUBLISHED_STYLE
from clickpose.evaluation.coco_metrics import keypoint_ap
from clickpose.evaluation.noc import rounds_needed
from clickpose.evaluation.report import Simulation, evaluate_all
from clickpose.model import ClickPose
from clickpose.predictor import EncodedImage, Predictor
from clickpose.skeleton import Skeleton
from parity.clicks import read_annotations, steady_model
from parity.draws import draw_image

FIXTURES = Path(__file__).parents[3] / "shared" / "reference" / "parity"

COCO17 = Skeleton.load("coco17")
PERSON = 1

pytestmark = pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"no parity fixtures in {FIXTURES}")


@pytest.fixture(scope="module")
def noc() -> Any:
    return np.load(FIXTURES / "noc.npz")


@pytest.fixture(scope="module")
def annotations(noc: Any) -> AnnotationSet:
    return read_annotations(json.loads(str(noc["annotations_json"])), len(COCO17))


def make_pose(keypoints_px: np.ndarray, score: float, held: np.ndarray | None = None) -> Pose:
    return Pose(
        keypoints_px=keypoints_px.astype(np.float32),
        visibility=np.full(17, 2),
        scores=np.full(17, score, np.float32),
        box_px=np.zeros(4, np.float32),
        score=float(score),
        held=np.zeros(17, bool) if held is None else held,
    )


def detections(noc: Any, name: str) -> dict[int, list[Pose]]:
    """The persons among the raw detections of one round, by image."""
    found: dict[int, list[Pose]] = {}
    keypoints = noc[f"{name}_keypoints"].reshape(-1, 17, 3)[..., :2]
    columns = noc[f"{name}_image"], noc[f"{name}_category"], noc[f"{name}_scores"], keypoints
    for image, category, score, keypoints_px in zip(*columns, strict=True):
        if category == PERSON:
            found.setdefault(int(image), []).append(make_pose(keypoints_px, score))
    return found


ROUNDS = ["ap_none_C0"] + [f"ap_{hold}_C{n}" for hold in ("none", "current") for n in (1, 2, 3, 5)]


@pytest.mark.parametrize("name", ROUNDS)
def test_ap_at_clicks_equals_the_published_evaluation(noc: Any, annotations: AnnotationSet, name: str) -> None:
    numbers = keypoint_ap(annotations, detections(noc, name))
    np.testing.assert_allclose(list(numbers.values()), noc[f"{name}_stats_f64"], atol=1e-9)


@pytest.mark.parametrize("hold", ["none", "current"])
@pytest.mark.parametrize("percent", [85, 90])
def test_number_of_clicks_equals_the_published_evaluation(
    noc: Any, annotations: AnnotationSet, hold: str, percent: int
) -> None:
    played = [detections(noc, name) for name in ("ap_none_C0", *(f"ap_{hold}_C{n}" for n in (1, 2, 3)))]
    counts = [
        rounds_needed(image, COCO17, iter([found[image.id] for found in played]), [percent / 100])[percent / 100]
        for image in annotations.images
    ]
    assert counts == noc[f"noc_{hold}_{percent}_click_num"].tolist()


class DrawnPredictor(Predictor):
    """Looks at the drawn image of each record, whatever image it is given, and answers in the recorded size."""

    def __init__(self, model: ClickPose, seeds: Sequence[int], size_hw: tuple[int, int]) -> None:
        super().__init__(model, COCO17)
        self.seeds, self.size_hw = seeds, size_hw

    def encode(self, image: AnnotatedImage) -> EncodedImage:  # type: ignore[override]
        drawn = torch.from_numpy(draw_image(int(self.seeds[image.id - 1]), *self.size_hw))[None]
        look = self.network.encode
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.network, "encode", lambda _: look(drawn))
            return super().encode(Image.new("RGB", image.size_wh))


@pytest.mark.slow
def test_the_evaluation_of_a_predictor_gives_the_published_numbers(noc: Any, annotations: AnnotationSet) -> None:
    size_hw = tuple(int(side) for side in np.ravel(noc["image_hw"])[:2])
    predictor = DrawnPredictor(steady_model(17, prepared=False), noc["image_seeds"], size_hw)
    published = Simulation(rounds=replace(PUBLISHED_STYLE, hold="none"), max_clicks=2)
    (metrics,) = evaluate_all(predictor, annotations, lambda image: image, {"": published}).values()
    for n in range(3):
        recorded = dict(zip(("AP", "AP50", "AP75", "AP_M", "AP_L", "AR"), noc[f"ap_none_C{n}_stats_f64"], strict=False))
        assert {name: metrics[f"{name}@C{n}"] for name in recorded} == pytest.approx(recorded, abs=1e-6)
    for percent in (85, 90, 95):
        assert metrics[f"NoC@{percent}"] == noc[f"noc_none_{percent}_mean_f64"]


@pytest.mark.parametrize("variant", ["official_n3", "holdcurrent_n3", "holdall_n3"])
@pytest.mark.parametrize("index, size_wh", [(0, (640, 512)), (1, (576, 448))])
def test_the_same_persons_and_keypoints_are_clicked(variant: str, index: int, size_wh: tuple[int, int]) -> None:
    first, loop = np.load(FIXTURES / "pair_eval.npz"), np.load(FIXTURES / "pair_loop.npz")
    image = target_image(loop, index, size_wh)
    annotator = SimulatedAnnotator(image, COCO17, "farthest", EVERY_KEYPOINT)
    best = loop["top20_index"][index]
    poses = normalised_poses(first["pred_keypoints"][index, best], first["pred_logits"][index, best], size_wh)
    annotator.match_as_published(poses)
    slots, persons = loop[f"{variant}/slot_{index}"], loop[f"{variant}/gt_{index}"]
    assert annotator.matches == dict(zip(slots.tolist(), persons.tolist(), strict=True))
    for n in range(3):
        expected = [row for row in loop[f"{variant}/it{n}_clicks"] if row[0] == index]
        clicks = annotator.correct_each(poses)
        assert [(c.person, c.keypoint) for c in clicks] == [(int(row[1]), int(row[2])) for row in expected]
        clicked_norm = np.array([c.xy_px for c in clicks]) / size_wh
        np.testing.assert_allclose(clicked_norm, [row[3:5] for row in expected], atol=1e-6)
        poses = normalised_poses(
            loop[f"{variant}/it{n}_out_kpt"][index], loop[f"{variant}/it{n}_out_logits"][index], size_wh
        )


def target_image(loop: Any, index: int, size_wh: tuple[int, int]) -> AnnotatedImage:
    width, height = size_wh
    persons = [
        PersonAnnotation(
            id,
            (target[:34].reshape(17, 2) * size_wh).astype(np.float32),
            target[34:].astype(np.int64),
            np.zeros(4, np.float32),
            float(area) * width * height,
        )
        for id, (target, area) in enumerate(
            zip(loop[f"target_keypoints_{index}"], loop[f"target_area_{index}"], strict=True)
        )
    ]
    return AnnotatedImage(index, "target.png", size_wh, tuple(persons))


def normalised_poses(keypoints: np.ndarray, logits: np.ndarray, size_wh: tuple[int, int]) -> list[Pose]:
    scores = 1 / (1 + np.exp(-logits[:, PERSON].astype(np.float64)))
    keypoints_px = keypoints[:, :34].reshape(-1, 17, 2) * size_wh
    return [make_pose(xy, score) for xy, score in zip(keypoints_px, scores, strict=True)]
