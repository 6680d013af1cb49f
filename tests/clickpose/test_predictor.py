"""The predictor's promises, on a tiny random model."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from clickpose.annotations import ABSENT, OCCLUDED, Click
from clickpose.boxes import xyxy_to_cxcywh
from clickpose.checkpoints.model_folder import load_model, save_model
from clickpose.errors import ImageError, InvalidClick, InvalidModel
from clickpose.model import ClickPose, tiny
from clickpose.predictor import EncodedImage, Predictor
from clickpose.skeleton import Skeleton

SKELETON = Skeleton.load("crowdpose14")


@pytest.fixture(scope="module")
def model() -> ClickPose:
    torch.manual_seed(0)
    model = ClickPose(tiny())
    for head in [*model.decoder.pose_heads, *model.decoder.box_heads, model.decoder.initial_pose_head]:
        torch.nn.init.normal_(head.layers[-1].weight, std=0.3)
    return model


@pytest.fixture(scope="module")
def predictor(model) -> Predictor:
    return Predictor(model, SKELETON, "v1")


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def encoded(predictor: Predictor, image: Image.Image) -> EncodedImage:
    return predictor.encode(image)


def test_detect_gives_poses_in_pixels_best_first(predictor, encoded) -> None:
    poses = predictor.hypotheses(encoded)
    assert len(poses) == predictor.config.num_persons
    assert [p.score for p in poses] == sorted((p.score for p in poses), reverse=True)
    assert all(p.keypoints_px.shape == (14, 2) and (p.keypoints_px <= (200, 120)).all() for p in poses)


def test_array_and_pil_image_encode_alike(predictor, image, encoded) -> None:
    again = predictor.encode(np.asarray(image))
    assert np.array_equal(again.hypotheses[0].keypoints_px, encoded.hypotheses[0].keypoints_px)


def test_silent_rounds_move_keypoints_and_keep_first_scores(model, predictor, image) -> None:
    silent = ClickPose(dataclasses.replace(model.config, silent_rounds=1))
    silent.load_state_dict(model.state_dict())
    plain, moved = (p.hypotheses(p.encode(image)) for p in (predictor, Predictor(silent, SKELETON)))
    assert [p.score for p in plain] == [p.score for p in moved]
    assert not np.allclose(plain[0].keypoints_px, moved[0].keypoints_px)


def test_refine_without_clicks_changes_nothing(predictor, encoded) -> None:
    poses = predictor.detect(encoded)
    assert predictor.refine(encoded, poses, []) == poses


def test_click_pins_its_keypoint_moves_others_and_spares_other_persons(predictor, encoded) -> None:
    poses = predictor.hypotheses(encoded)
    refined = predictor.refine(encoded, poses, [Click(1, "left_wrist", (31.7, 88.3))])
    wrist = SKELETON.index("left_wrist")
    np.testing.assert_array_equal(refined[1].keypoints_px[wrist], np.float32([31.7, 88.3]))
    assert refined[1].held.tolist() == [i == wrist for i in range(14)]
    assert (refined[1].keypoints_px != poses[1].keypoints_px).any(1).sum() > 7
    assert refined[0] is poses[0] and refined[2] is poses[2]


def test_persons_are_ranked_again_all_together_or_not_at_all(predictor, encoded) -> None:
    poses, click = predictor.hypotheses(encoded), Click(1, "left_wrist", (31.7, 88.3))
    as_before, anew = (answer(encoded, poses, [click]) for answer in (predictor.refine, predictor.published_round))
    assert [pose.score for pose in as_before] == [pose.score for pose in poses]
    assert all(new.score != old.score for new, old in zip(anew, poses, strict=True))


def test_as_published_only_boxes_of_clicked_persons_reach_out_to_their_keypoints(predictor, encoded) -> None:
    poses, size_wh = predictor.hypotheses(encoded), torch.tensor(encoded.size_wh)
    corners = torch.from_numpy(np.stack([pose.box_px for pose in poses]) / np.tile(encoded.size_wh, 2)).float()
    keypoints = torch.from_numpy(np.stack([pose.keypoints_px for pose in poses])) / size_wh
    as_they_are = predictor.network.refine(xyxy_to_cxcywh(corners)[None], keypoints[None], encoded.values)[-1]
    answered = predictor.published_round(encoded, poses, [Click(1, 0, (31.7, 88.3))], hold="none")
    for i, pose in enumerate(answered):
        follows = np.allclose(pose.keypoints_px, as_they_are.keypoints[0, i] * size_wh, atol=1e-2)
        assert follows == (i != 1)


def test_boxes_end_where_the_image_does_but_for_those_of_published_rounds(predictor, encoded) -> None:
    raw, clicks = predictor.hypotheses(encoded), [Click(0, 0, (31.7, 88.3))]
    shown = predictor.detect(encoded)
    boxes = [pose.box_px for pose in (*shown, *predictor.refine(encoded, raw, clicks)[:1])]
    assert all((box >= 0).all() and (box <= (200, 120, 200, 120)).all() for box in boxes)
    for poses in (raw, predictor.published_round(encoded, raw, clicks)):
        assert any((pose.box_px < 0).any() for pose in poses)


def test_no_later_refine_moves_a_held_keypoint(predictor, encoded) -> None:
    poses = predictor.detect(encoded)
    placed = {}
    for keypoint in range(14):
        placed[keypoint] = (10.0 + keypoint * 13.3, 5.0 + keypoint * 7.7)
        poses = predictor.refine(encoded, poses, [Click(0, keypoint, placed[keypoint])])
        for index, xy in placed.items():
            np.testing.assert_array_equal(poses[0].keypoints_px[index], np.float32(xy))


def test_hold_none_lets_a_clicked_keypoint_move(predictor, encoded) -> None:
    poses = predictor.detect(encoded)
    refined = predictor.refine(encoded, poses, [Click(0, 3, (50.0, 50.0))], hold="none")
    assert not np.allclose(refined[0].keypoints_px[3], (50.0, 50.0)) and not refined[0].held.any()


def test_persons_are_independent_of_each_other(predictor, encoded) -> None:
    poses = predictor.hypotheses(encoded)
    clicks = [Click(0, 0, (20.0, 30.0)), Click(2, 5, (99.0, 60.0))]
    together = predictor.refine(encoded, poses, clicks)
    apart = predictor.refine(encoded, predictor.refine(encoded, poses, clicks[:1]), clicks[1:])
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_allclose(a.keypoints_px, b.keypoints_px, atol=1e-3)


def test_visibility_is_the_annotators(predictor, encoded) -> None:
    poses = predictor.detect(encoded)
    clicks = [Click(0, 4, (0, 0), ABSENT), Click(0, 5, (12.0, 13.0), OCCLUDED)]
    refined = predictor.refine(encoded, poses, clicks)
    assert refined[0].visibility[[4, 5, 6]].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(refined[0].keypoints_px[4], poses[0].keypoints_px[4])


def test_added_person_comes_last_in_the_box_drawn(predictor, encoded) -> None:
    poses = predictor.detect(encoded)
    more = predictor.add_person(encoded, poses, (20, 10, 60, 110))
    assert more[:-1] == poses
    np.testing.assert_array_equal(more[-1].box_px, [20, 10, 60, 110])


@pytest.mark.parametrize(
    ("click", "said"),
    [
        (Click(99, 0, (1, 1)), "person 99 is outside 0.."),
        (Click(0, "tail", (1, 1)), "has no keypoint 'tail'"),
        (Click(0, 14, (1, 1)), "has no keypoint 14"),
        (Click(0, 0, (201.0, 5)), "outside the image of 200 x 120"),
        (Click(0, 0, (float("nan"), 5)), "outside the image"),
        (Click(0, 0, (1, 1), 7), "visibility 7"),
    ],
)
def test_bad_click_is_refused_by_name(predictor, encoded, click, said) -> None:
    with pytest.raises(InvalidClick, match=said):
        predictor.refine(encoded, predictor.detect(encoded), [click])


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (300, 0, 400, 50), (0, 0, float("inf"), 4)])
def test_bad_box_is_refused(predictor, encoded, box) -> None:
    with pytest.raises(InvalidClick, match="box"):
        predictor.add_person(encoded, [], box)


def test_grey_array_is_refused(predictor) -> None:
    with pytest.raises(ImageError, match="RGB uint8"):
        predictor.encode(np.zeros((9, 9), np.uint8))


@pytest.mark.parametrize("size_wh", [(1, 1), (7, 900), (900, 7)])
def test_odd_images_are_encoded(predictor, size_wh) -> None:
    assert predictor.detect(predictor.encode(Image.new("RGB", size_wh)))


def test_model_folder_there_and_back(model, image, encoded, tmp_path) -> None:
    save_model(tmp_path / "v7", model, SKELETON, metrics={"ap": 0.5}, card="# a card")
    again = Predictor.load(tmp_path / "v7")
    assert again.version == "v7" and load_model(tmp_path / "v7").metrics == {"ap": 0.5}
    assert np.array_equal(again.encode(image).hypotheses[0].keypoints_px, encoded.hypotheses[0].keypoints_px)


def test_weights_that_do_not_fit_are_listed(model, tmp_path) -> None:
    folder = save_model(tmp_path / "m", model, SKELETON, metrics={}, card="")
    text = (folder / "config.json").read_text().replace('"width": 32', '"width": 64')
    (folder / "config.json").write_text(text)
    with pytest.raises(InvalidModel, match=r"encoder.level_embed has shape \(3, 32\), not \(3, 64\)"):
        Predictor.load(folder)


def test_folder_without_weights_is_refused(tmp_path) -> None:
    with pytest.raises(InvalidModel, match=r"config.json, skeleton.json, weights.safetensors missing"):
        Predictor.load(tmp_path)


def test_half_precision_halves_the_memory_and_moves_keypoints_by_less_than_a_tenth_of_a_pixel(
    model, predictor, image, encoded
) -> None:
    half = Predictor(model, SKELETON, keep=torch.float16)
    kept = half.encode(image)
    assert kept.num_bytes == encoded.num_bytes / 2
    poses, click = predictor.hypotheses(encoded), Click(1, "left_wrist", (31.7, 88.3))
    refined = predictor.refine(encoded, poses, [click])
    for ours, theirs in ((half.hypotheses(kept), poses), (half.refine(kept, poses, [click]), refined)):
        for mine, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine.keypoints_px, expected.keypoints_px, atol=0.1)


def test_refine_of_the_same_click_never_changes_nor_does_the_image(predictor, encoded) -> None:
    before = [value.clone() for value in encoded.values.values]
    poses, click = predictor.hypotheses(encoded), Click(1, "left_wrist", (31.7, 88.3))
    first, again = (predictor.refine(encoded, poses, [click])[1] for _ in range(2))
    np.testing.assert_array_equal(first.keypoints_px, again.keypoints_px)
    assert all(torch.equal(a, b) for a, b in zip(before, encoded.values.values, strict=True))


def test_images_encoded_together_are_as_if_encoded_alone(model, predictor, monkeypatch) -> None:
    """A GPU encodes images of one size in one call; their order and what is kept of each stay the same."""
    sizes_wh = [(200, 120), (160, 160), (200, 120), (100, 60), (200, 120)]  # the fourth is scaled to the first's size
    random = np.random.default_rng(1)
    images = [Image.fromarray(random.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes_wh]
    form = Predictor(model, SKELETON).form
    calls = []
    encode = form.network.encode
    monkeypatch.setattr(form, "max_together", 3)
    monkeypatch.setattr(form.network, "encode", lambda batch: calls.append(len(batch)) or encode(batch))
    for image, together in zip(images, form.encode_all(images), strict=True):
        alone = predictor.encode(image)
        assert together.size_wh == image.size and together.num_bytes == alone.num_bytes
        for one, other in zip(together.hypotheses, alone.hypotheses, strict=True):
            assert one.score == pytest.approx(other.score, abs=2e-5)
            assert np.abs(one.keypoints_px - other.keypoints_px).max() < 0.05
    assert sorted(calls) == [1, 1, 3]
