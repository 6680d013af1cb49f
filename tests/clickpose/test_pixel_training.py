"""Packed persons are what was annotated, frames in them are cut as from images, and released stages learn."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from clickpose.annotations import AnnotatedImage, AnnotationSet, PersonAnnotation
from clickpose.errors import InvalidConfig
from clickpose.first_guess.finder import Found
from clickpose.first_guess.networks import looker_weights
from clickpose.person_frame.config import PersonFrameConfig
from clickpose.person_frame.frame import Frame
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.skeleton import Skeleton
from clickpose.training.config import TrainConfig, person_frame_training, published
from clickpose.training.loop import train_step
from clickpose.training.person_frame.epochs import CropSource
from clickpose.training.person_frame.packing import PackedBatches, PackedCrops, pack
from clickpose.training.person_frame.pixels import PixelTrainingStep, Squares, pixel_state
from clickpose.training.person_frame.settings import DrawConfig

COCO17 = Skeleton.load("coco17")
SMALL = PersonFrameConfig(17, looker="lightning", width=32, ffn_width=32, num_heads=4, num_points=2, pose_layers=2)
LEFT_EYE, RIGHT_EYE = 1, 2
ALONE = DrawConfig(max_turn=0, min_scale=1, max_scale=1, max_shift=0, found_share=0)


class ShiftedFinder:
    """Finds every person a little to the right."""

    def __call__(self, image: Image.Image) -> Found:
        return Found(np.array([person(1).box_px + np.array((10, 0, 10, 0))], np.float32), np.ones(1, np.float32))


def person(number: int) -> PersonAnnotation:
    rng = np.random.default_rng(number)
    keypoints_px = (np.array((110, 80)) + rng.random((17, 2)) * (60, 120)).astype(np.float32)
    return PersonAnnotation(number, keypoints_px, np.full(17, 2), np.array([100, 70, 180, 210], np.float32), 5000.0)


def open_image(record: AnnotatedImage) -> Image.Image:
    """A photo's worth of smooth colour, with an ellipse."""
    coarse = np.random.default_rng(record.id).integers(0, 255, (12, 15, 3), np.uint8)
    image = Image.fromarray(coarse).resize(record.size_wh, Image.Resampling.BICUBIC)
    ImageDraw.Draw(image).ellipse((120, 90, 160, 190), fill=(200, 60, 20))
    return image


RECORDS = tuple(AnnotatedImage(i, f"{i}.jpg", (300, 260), (person(i),)) for i in (1, 2, 3, 4))


@pytest.fixture
def packed(tmp_path: Path) -> PackedCrops:
    file = tmp_path / "packed.safetensors"
    pack([CropSource(AnnotationSet(COCO17, RECORDS))], (), open_image, ShiftedFinder(), file)
    return PackedCrops.read(file)


def record_of(packed: PackedCrops, number: int) -> AnnotatedImage:
    return RECORDS[int(packed.tensors["image"][number]) - 1]


def squares(batch_size: int, *, turn: float = 0.0, mirrored: bool = False) -> Squares:
    """The frames around the annotated boxes."""
    middle, side = torch.full((batch_size, 2), 0.5), torch.full((batch_size,), 1 / 1.5)
    return Squares(middle, side, torch.full((batch_size,), turn), torch.full((batch_size,), mirrored))


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_a_packed_person_looks_as_in_the_image(packed: PackedCrops, turn: float) -> None:
    cut = squares(4, turn=turn).cut(packed.batch(range(4)).images, 192)
    for number in range(4):
        frame = replace(Frame.around(person(1).box_px), turn=turn)
        expected = np.asarray(frame.cut(open_image(record_of(packed, number)), 192), np.float32)
        difference = np.abs(cut[number].permute(1, 2, 0).numpy() - expected)
        assert difference.mean() < 4 and np.quantile(difference, 0.99) < 40  # of 255: WebP, and sampled twice


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_the_truth_of_a_packed_person_is_that_of_the_annotation(packed: PackedCrops, turn: float) -> None:
    places = squares(4, turn=turn).to_frame(packed.batch(range(4)).keypoints)
    frame = replace(Frame.around(person(1).box_px), turn=turn)
    for number in range(4):
        annotated = record_of(packed, number).persons[0]
        assert np.allclose(places[number].numpy(), frame.to_frame(annotated.keypoints_px), atol=1e-4)


def test_the_finders_frame_is_packed_too(packed: PackedCrops) -> None:
    found, own = packed.batch([0]).found[0].numpy(), Frame.around(person(1).box_px)
    frame = Frame.around(person(1).box_px + np.array((10, 0, 10, 0)))
    assert np.allclose(found[:2], 0.5 + np.array((10, 0)) / (1.5 * own.side_px), atol=1e-5)
    assert found[2] == pytest.approx(frame.side_px / (1.5 * own.side_px))


def test_a_mirrored_frame_shows_the_mirror_image_and_trades_names(packed: PackedCrops) -> None:
    batch = packed.batch([0, 1])
    seen, mirrored = squares(2), squares(2, mirrored=True)
    assert torch.allclose(mirrored.cut(batch.images, 64), seen.cut(batch.images, 64).flip(3), atol=1e-2)
    config = person_frame_training(augment=ALONE)
    step = PixelTrainingStep(PersonFrameNetwork(SMALL).with_own_looker(), COCO17, config)
    truth, other = (step.look(torch.zeros(2, 3, 192, 192), batch, one) for one in (seen, mirrored))
    assert torch.allclose(other.keypoints[:, LEFT_EYE, 0], 1 - truth.keypoints[:, RIGHT_EYE, 0], atol=1e-5)
    assert torch.allclose(other.keypoints[:, LEFT_EYE, 1], truth.keypoints[:, RIGHT_EYE, 1], atol=1e-5)


def test_some_images_are_held_out_whole(packed: PackedCrops) -> None:
    training, held_out = packed.split(4)
    assert sorted(training + held_out) == list(range(4))
    assert packed.tensors["image"][held_out].tolist() == [4]


def test_no_more_persons_are_packed_than_asked_for(tmp_path: Path) -> None:
    sources = [CropSource(AnnotationSet(COCO17, RECORDS)), CropSource(AnnotationSet(COCO17, RECORDS), 0.25)]
    packed = pack(sources, (3, 2), open_image, ShiftedFinder(), tmp_path / "packed.safetensors")
    shares = packed.tensors["share"]
    assert len(packed) == 5 and shares[:3].sum() == pytest.approx(1) and shares[3:].sum() == pytest.approx(0.25)


def settings(**changes: object) -> TrainConfig:
    return person_frame_training(**{"batch_size": 2, "learning_rate": 1e-3, "backbone_learning_rate": 1e-3} | changes)


@pytest.fixture
def changed(packed: PackedCrops) -> Iterator[set[str]]:
    """The looker's weights that three steps change."""
    torch.manual_seed(0)
    state = pixel_state(PersonFrameNetwork(SMALL), COCO17, settings(), ["smooth.2.", "backbone.stages.6."])
    for step in range(3):
        train_step(state, [PackedBatches(packed, range(4), 2, seed=0)[step]], settings(), 1.0)
    weights = state.network.model.looker.state_dict()  # type: ignore[union-attr]
    yield {
        name for name, weight in looker_weights("lightning").items() if not torch.equal(weight.float(), weights[name])
    }


def test_released_stages_learn_and_no_others(changed: set[str]) -> None:
    assert changed and all(name.startswith(("smooth.2.", "backbone.stages.6.")) for name in changed)
    assert "smooth.2.pointwise.weight" in changed and "backbone.stages.6.0.project.weight" in changed


def test_what_cannot_be_released_is_named() -> None:
    with pytest.raises(InvalidConfig, match=r"starts with 'tail\.'"):
        pixel_state(PersonFrameNetwork(SMALL), COCO17, settings(), ["tail."])
    with pytest.raises(InvalidConfig, match="choose the recipe person-frame"):
        pixel_state(PersonFrameNetwork(SMALL), COCO17, published())
