"""The person's frame: coordinates go there and back, maps are attended to exactly, and the predictor keeps its word."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from clickpose.annotations import ABSENT, Click
from clickpose.checkpoints.growing import grow
from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.errors import InvalidClick, InvalidConfig, InvalidModel
from clickpose.first_guess.finder import Found
from clickpose.first_guess.looker import MAP_CHANNELS, Look
from clickpose.model.attention import DeformableAttention
from clickpose.person_frame.config import PersonFrameConfig
from clickpose.person_frame.frame import Frame
from clickpose.person_frame.maps import KEPT_SIZES, MapAttention
from clickpose.person_frame.network import PersonFrameNetwork
from clickpose.person_frame.person_frame import EncodedPersons, PersonFrame
from clickpose.person_frame.starts import NOWHERE, sources
from clickpose.predictor import Predictor
from clickpose.skeleton import Skeleton

COCO17 = Skeleton.load("coco17")
SMALL = PersonFrameConfig(17, width=32, ffn_width=32, num_heads=4, num_points=2, pose_layers=2, min_score=0.5)
BOXES = np.array([[20, 10, 60, 110], [90, 30, 130, 120], [140, 40, 170, 110]], np.float32)
SCORES = np.array([0.9, 0.8, 0.3], np.float32)  # the third is hidden


class FixedFinder:
    """Finds the same persons in every image."""

    def __call__(self, image: Image.Image) -> Found:
        return Found(BOXES, SCORES)


class ColourLooker:
    """Sees maps that depend on the crop, and all keypoints in its middle."""

    crop_px = 64

    def __init__(self) -> None:
        self.num_looks = 0

    def __call__(self, crops: list[Image.Image]) -> Look:
        self.num_looks += len(crops)
        seeds = [int(np.asarray(crop, np.int64).sum()) for crop in crops]
        maps = [
            torch.cat([torch.randn(1, c, s, s, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
            for c, s in zip(MAP_CHANNELS, KEPT_SIZES, strict=True)
        ]
        return Look((maps[0], maps[1], maps[2]), torch.full((len(crops), 17, 2), 0.5), torch.ones(len(crops), 17))


@pytest.fixture(scope="module")
def network() -> PersonFrameNetwork:
    torch.manual_seed(0)
    network = PersonFrameNetwork(SMALL).eval()
    for head in network.decoder.pose_heads:  # an untrained head takes no step
        torch.nn.init.normal_(head.layers[-1].weight, std=0.2)
    return network


@pytest.fixture
def predictor(network: PersonFrameNetwork, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    monkeypatch.setattr(
        "clickpose.predictor.make_form",
        lambda network, skeleton, keep: PersonFrame(network, skeleton, FixedFinder(), ColourLooker()),  # type: ignore[arg-type]
    )
    return Predictor(network, COCO17, "v1")


@pytest.fixture
def encoded(predictor: Predictor) -> EncodedPersons:
    image = Image.new("RGB", (200, 150), "grey")
    for number, box in enumerate(BOXES.tolist()):
        ImageDraw.Draw(image).rectangle(box, fill=(80 * number, 200, 40))
    encoded = predictor.encode(image)
    assert isinstance(encoded, EncodedPersons)
    return encoded


def test_images_encoded_together_are_looked_at_together_and_seen_alike(predictor: Predictor) -> None:
    images = [Image.new("RGB", (200, 150), colour) for colour in ("grey", "red", "blue")]
    alone = [predictor.detect(predictor.encode(image)) for image in images]
    together = [predictor.detect(encoded) for encoded in predictor.encode_all(images)]
    for one, other in zip(alone, together, strict=True):
        assert len(one) == len(other) == 2
        for pose, same in zip(one, other, strict=True):
            np.testing.assert_allclose(pose.keypoints_px, same.keypoints_px, atol=0.05)
            np.testing.assert_allclose(pose.scores, same.scores, atol=1e-3)
    batches: list[int] = []
    looker = predictor.form.looker  # type: ignore[attr-defined]
    predictor.form.looker = lambda crops: batches.append(len(crops)) or looker(crops)  # type: ignore[attr-defined]
    predictor.form.looker.crop_px = looker.crop_px  # type: ignore[attr-defined]
    predictor.encode_all(images)
    assert batches == [6]


@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_points_go_to_the_frame_and_back(turn: float) -> None:
    frame = Frame((40.0, 60.0), 50.0, turn)
    points_px = np.array([[10.0, 20.0], [40.0, 60.0], [199.0, 3.5]])
    assert np.allclose(frame.to_px(frame.to_frame(points_px)), points_px)


def test_the_middle_of_a_pixel_is_where_the_crop_shows_it() -> None:
    image = Image.new("RGB", (100, 100))
    image.putpixel((30, 40), (255, 255, 255))
    frame = Frame((32.0, 48.0), 64.0)
    place = frame.to_frame([30, 40]) * 64
    assert frame.cut(image, 64).getpixel((int(place[0]), int(place[1]))) == (255, 255, 255)


def test_a_frame_that_sticks_out_of_the_image_is_black_there() -> None:
    crop = np.asarray(Frame((0.0, 50.0), 100.0).cut(Image.new("RGB", (100, 100), "white"), 50))
    assert (crop[2:-2, :24] == 0).all() and (crop[2:-2, 26:] == 255).all()


@pytest.mark.parametrize("side_px", [1e4, 1e6, 1e9])
def test_a_frame_far_larger_than_its_image_takes_no_more_memory_than_the_image(side_px: float) -> None:
    crop = np.asarray(Frame((40.0, 30.0), side_px, 0.3).cut(Image.new("RGB", (80, 60), "white"), 64))
    assert crop.shape == (64, 64, 3) and crop.mean() < 5  # nearly all of it is outside the image


def test_only_the_part_inside_the_image_is_cut_from_a_large_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    image = Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC)
    large = Frame((300.0, 200.0), 900.0, 0.3)
    whole = np.asarray(large.cut(image, 128), np.float32)
    monkeypatch.setattr("clickpose.person_frame.frame.MAX_PART_PX", 0)
    assert np.abs(np.asarray(large.cut(image, 128), np.float32) - whole).mean() < 2


def test_a_frame_around_a_box_shows_all_of_it() -> None:
    assert Frame.around((10, 20, 30, 90)).shows([[10, 20], [30, 90]])


def test_attention_to_maps_equals_attention_to_projected_values(network: PersonFrameNetwork) -> None:
    maps = [torch.randn(2, s, s, c) for s, c in zip(KEPT_SIZES, MAP_CHANNELS, strict=True)]
    seen = network.see(maps)
    projected = [p(m.permute(0, 3, 1, 2)) for p, m in zip(network.projection.projections, maps, strict=True)]
    attention = network.decoder.layers[0].cross_attention
    assert isinstance(attention, MapAttention)
    values = attention.project_values(torch.cat([p.flatten(2).transpose(1, 2) for p in projected], 1), None)
    queries, references = torch.randn(2, 18, 32), torch.rand(2, 18, 1, 4).expand(-1, -1, 3, -1)
    wanted = DeformableAttention.forward(attention, queries, references, values, seen.shapes)
    assert torch.allclose(attention(queries, references, seen, seen.shapes), wanted, atol=1e-5)


def test_a_window_of_a_crop_is_seen_as_that_part_of_it(network: PersonFrameNetwork) -> None:
    maps = [torch.randn(1, s, s, c) for s, c in zip(KEPT_SIZES, MAP_CHANNELS, strict=True)]
    boxes, free = torch.tensor([[0.5, 0.5, 0.4, 0.4]]), torch.ones(1, 17)
    points = torch.rand(1, 17, 2, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.25
    whole = network.play(boxes, points, network.see(maps), free)
    same = network.play(boxes, points, network.see(maps, torch.tensor([[0.0, 0.0, 1.0]])), free)
    part = network.play(boxes, points, network.see(maps, torch.tensor([[0.2, 0.2, 0.5]])), free)
    assert torch.allclose(whole.keypoints, same.keypoints, atol=1e-6)
    assert not torch.allclose(whole.keypoints, part.keypoints, atol=1e-4)


def test_only_persons_who_are_sure_enough_are_shown(predictor: Predictor, encoded: EncodedPersons) -> None:
    poses = predictor.detect(encoded)
    assert sorted(pose.box_px.tolist() for pose in poses) == BOXES[:2].tolist()


def test_each_person_answers_as_alone(predictor: Predictor, encoded: EncodedPersons) -> None:
    poses = predictor.detect(encoded)
    clicks = [Click(0, "nose", (30.0, 20.0)), Click(1, "left_knee", (100.0, 90.0))]
    together = predictor.refine(encoded, poses, clicks)
    for person, click in enumerate(clicks):
        alone = predictor.refine(encoded, poses, [click])
        assert np.allclose(together[person].keypoints_px, alone[person].keypoints_px, atol=1e-3)
        assert alone[1 - person] is poses[1 - person]


def test_what_a_human_placed_never_moves(predictor: Predictor, encoded: EncodedPersons) -> None:
    poses = predictor.detect(encoded)
    poses = predictor.refine(encoded, poses, [Click(0, "nose", (33.3, 21.7))])
    for xy_px in ((40.0, 60.0), (190.0, 140.0), (0.0, 0.0)):  # also far outside the frame
        poses = predictor.refine(encoded, poses, [Click(0, "left_wrist", xy_px)])
        assert poses[0].keypoints_px[0].tolist() == pytest.approx([33.3, 21.7], abs=1e-5)
        assert poses[0].keypoints_px[9].tolist() == list(xy_px)


def test_a_click_outside_the_frame_moves_the_frame(predictor: Predictor, encoded: EncodedPersons) -> None:
    answer = predictor.refine(encoded, predictor.detect(encoded), [Click(0, "nose", (195.0, 145.0))])[0]
    assert Frame.around(answer.box_px).shows([[195.0, 145.0]])


def test_scores_are_chances(predictor: Predictor, encoded: EncodedPersons) -> None:
    poses = predictor.refine(encoded, predictor.detect(encoded), [Click(0, "nose", (30.0, 20.0))])
    assert poses[0].scores[0] == 1.0
    assert all(((pose.scores >= 0) & (pose.scores <= 1)).all() for pose in poses)


def test_an_image_is_looked_at_once(predictor: Predictor, encoded: EncodedPersons) -> None:
    looker = predictor.form.looker  # type: ignore[attr-defined]
    before = looker.num_looks
    poses = predictor.detect(encoded)
    for _ in range(3):
        poses = predictor.refine(encoded, poses, [Click(0, "nose", (30.0, 20.0))])
    assert looker.num_looks == before == 2


def test_somebody_who_was_missed_costs_one_click(predictor: Predictor, encoded: EncodedPersons) -> None:
    poses = predictor.detect(encoded)
    added = predictor.add_person_at(encoded, poses, "left_hip", (155.0, 80.0))
    assert len(added) == 3 and added[2].box_px.tolist() == BOXES[2].tolist()  # the hidden one
    assert added[2].held.tolist() == [name == "left_hip" for name in COCO17.keypoints]


def test_where_no_person_was_found_the_place_itself_is_looked_at(predictor: Predictor, encoded: EncodedPersons) -> None:
    added = predictor.add_person_at(encoded, predictor.detect(encoded), "nose", (10.0, 140.0))[-1]
    assert added.keypoints_px[0].tolist() == [10.0, 140.0]


@pytest.mark.parametrize("xy_px", [(-1.0, 5.0), (201.0, 5.0)])
def test_no_person_is_added_outside_the_image(
    predictor: Predictor, encoded: EncodedPersons, xy_px: tuple[float, float]
) -> None:
    with pytest.raises(InvalidClick, match="outside"):
        predictor.add_person_at(encoded, [], "nose", xy_px)


def test_absent_keypoints_stay_absent(predictor: Predictor, encoded: EncodedPersons) -> None:
    poses = predictor.refine(encoded, predictor.detect(encoded), [Click(0, "nose", (0.0, 0.0), ABSENT)])
    again = predictor.refine(encoded, poses, [Click(0, "left_eye", (30.0, 20.0))])
    assert again[0].visibility[0] == ABSENT


def test_a_model_folder_brings_back_the_same_answers(network: PersonFrameNetwork, tmp_path: Path) -> None:
    save_model(tmp_path, network, COCO17, metrics={}, card="")
    loaded = load_model(tmp_path)
    assert isinstance(loaded.network, PersonFrameNetwork) and loaded.network.frame_config == SMALL
    for name, weight in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], weight), name
    with pytest.raises(InvalidModel, match="person's frame"):
        loaded.published_form()


@pytest.mark.parametrize(
    "change", [{"looker": "eagle"}, {"min_score": 2.0}, {"calibration": (0.0, 1.0)}, {"width": 33}], ids=str
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidConfig):
        dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]


def test_keypoints_start_from_those_of_their_name_or_from_relatives() -> None:
    skeleton = Skeleton("s", ("left_hip", "belly", "tail"), (0.1, 0.1, 0.1), parents={"belly": "left_hip"})
    hip = COCO17.index("left_hip")
    assert sources(skeleton) == [hip, hip, NOWHERE]


def test_a_grown_model_keeps_what_it_knows_of_shared_keypoints(network: PersonFrameNetwork) -> None:
    skeleton = Skeleton("s", ("nose", "tail"), (0.1, 0.1), parents={"tail": "nose"})
    grown = grow(network, COCO17, skeleton)
    assert isinstance(grown, PersonFrameNetwork) and grown.frame_config.num_keypoints == 2
    assert torch.equal(grown.keypoint_label.weight[1], network.keypoint_label.weight[1])


def test_each_person_who_is_not_shown_may_cost_a_click(predictor: Predictor, encoded: EncodedPersons) -> None:
    shown = predictor.detect(encoded)
    wrong = sum(float((1 - pose.scores).sum()) for pose in shown)
    assert predictor.expected_clicks(encoded, shown) == pytest.approx(wrong + SCORES[2])
    assert predictor.expected_clicks(encoded, []) == pytest.approx(SCORES.sum())
