"""A grown model: shared keypoints keep their weights, new ones start as their relatives, attention mixes them."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from clickpose.checkpoints.growing import grow, origins
from clickpose.errors import InvalidSkeleton
from clickpose.model import ClickPose, tiny
from clickpose.model.decoder import LayerOutput
from clickpose.skeleton import DEFAULT_SIGMA, Skeleton
from tests.clickpose.builders import SKELETON, MaskedDecoder, build_images, build_model

TAILED = Skeleton.from_dict(
    {
        "name": "tailed",
        "keypoints": ["tail_tip", *SKELETON.keypoints, "tail", "horn"],
        "parents": {"tail_tip": "tail", "tail": "left_hip"},
    }
)
SHARED = slice(1, len(SKELETON) + 1)


def renamed(name: str, keypoints: list[str], **parents: str) -> Skeleton:
    return Skeleton(name, tuple(keypoints), (DEFAULT_SIGMA,) * len(keypoints), parents=parents)


def start(model: ClickPose) -> tuple[Tensor, Tensor]:
    """Content and references of all tokens before the pose layers."""
    persons = model.find_persons(model.encode(build_images()))
    return model.decoder.start_poses(persons.content, persons.boxes)


def answer(model: ClickPose) -> LayerOutput:
    memory = model.encode(build_images())
    return model.estimate_poses(model.find_persons(memory), model.decoder.pose_values(memory))


def refined(model: ClickPose) -> LayerOutput:
    first, memory = answer(model), model.encode(build_images())
    return model.refine(first.boxes, first.keypoints, model.decoder.pose_values(memory))[-1]


@torch.inference_mode()
def test_growing_to_the_same_skeleton_changes_nothing() -> None:
    model = build_model()
    grown = grow(model, SKELETON, SKELETON).state_dict()
    assert all(torch.equal(grown[name], weight) for name, weight in model.state_dict().items())


@torch.inference_mode()
def test_persons_and_the_start_of_shared_keypoints_stay() -> None:
    model = build_model()
    (content, references), (grown_content, grown_references) = start(model), start(grow(model, SKELETON, TAILED))
    assert torch.equal(grown_content[:, :, 0], content[:, :, 0])  # the person
    assert torch.equal(grown_references[:, :, 0], references[:, :, 0])
    assert torch.equal(grown_content[:, :, 1:][:, :, SHARED], content[:, :, 1:])
    torch.testing.assert_close(grown_references[:, :, 1:][:, :, SHARED], references[:, :, 1:])  # of another batch size


@torch.inference_mode()
def test_a_new_keypoint_starts_where_its_parent_does() -> None:
    for tokens in start(grow(build_model(), SKELETON, TAILED)):
        keypoints = tokens[:, :, 1:]
        for name in ("tail", "tail_tip"):  # the one by way of the other
            torch.testing.assert_close(keypoints[:, :, TAILED.index(name)], keypoints[:, :, TAILED.index("left_hip")])


def test_a_new_keypoint_without_parent_starts_at_random_apart_from_all_others() -> None:
    model, horn = build_model(), TAILED.index("horn")
    grown, again = (grow(model, SKELETON, TAILED).keypoint_label.weight for _ in range(2))
    assert torch.equal(grown, again)
    old = model.keypoint_label.weight[1:]
    apart, to_horn = torch.pdist(old), torch.cdist(grown[horn + 1 : horn + 2], old)
    assert apart.min() / 2 < to_horn.min() and to_horn.max() < 2 * apart.max()


def test_what_new_keypoints_start_from_is_told() -> None:
    old = Skeleton("old", ("head", "tail"), (0.1, 0.1))
    new = Skeleton("new", ("head", "eye", "lash", "wing"), (0.1,) * 4, parents={"eye": "head", "lash": "eye"})
    assert origins(old, new) == {"eye": "head", "lash": "head", "wing": "random values"}


def test_the_label_of_no_keypoint_stays_the_first() -> None:
    model = build_model()
    assert torch.equal(grow(model, SKELETON, TAILED).keypoint_label.weight[0], model.keypoint_label.weight[0])


@torch.inference_mode()
def test_only_attention_to_new_keypoints_moves_the_shared_ones() -> None:
    """Where no layer looks at the new keypoints, the answer is the old one up to rounding; else it is another."""
    model = build_model()
    grown, group = grow(model, SKELETON, TAILED), len(TAILED) + 1
    memory = grown.encode(build_images())
    content, references = start(grown)
    person = torch.arange(content.shape[1]).repeat_interleave(group)
    is_new = torch.ones(group, dtype=torch.bool)
    is_new[0], is_new[1:][SHARED] = False, False
    blocked = (person[:, None] != person) | is_new.repeat(content.shape[1])
    values = grown.decoder.pose_values(memory)
    blind_decoder = MaskedDecoder(grown.decoder, blocked.expand(len(content), -1, -1))
    blind = blind_decoder.decode_poses(content, references, values)[-1]

    before = answer(model)
    torch.testing.assert_close(blind.keypoints[:, :, SHARED], before.keypoints, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(blind.boxes, before.boxes, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(answer(grown).keypoints[:, :, SHARED], before.keypoints, atol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("asked", [answer, refined])
def test_a_permuted_skeleton_permutes_the_answer(asked) -> None:
    model, order = build_model(), torch.randperm(len(SKELETON)).tolist()
    permuted = grow(model, SKELETON, renamed("permuted", [SKELETON.keypoints[k] for k in order]))
    torch.testing.assert_close(asked(permuted).keypoints, asked(model).keypoints[:, :, order], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(asked(permuted).boxes, asked(model).boxes, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_there_and_back_is_the_same_model() -> None:
    model = build_model()
    back = grow(grow(model, SKELETON, TAILED), TAILED, SKELETON).state_dict()
    assert all(torch.equal(back[name], weight) for name, weight in model.state_dict().items())


def test_a_parent_may_be_a_keypoint_that_is_given_up() -> None:
    model = build_model()
    faced = grow(model, SKELETON, renamed("face", ["nose", "neck"], nose="head"))
    assert torch.equal(
        faced.decoder.keypoint_size.weight[0], model.decoder.keypoint_size.weight[SKELETON.index("head")]
    )


def test_every_weight_that_knows_the_number_of_keypoints_is_grown() -> None:
    """What differs in shape between two models is what grow copies row by row."""
    one, two = (ClickPose(tiny(k)).state_dict() for k in (5, 6))
    differing = {name for name in one if one[name].shape != two[name].shape}
    assert differing == {"decoder.keypoint_content.weight", "decoder.keypoint_size.weight", "keypoint_label.weight"}


@pytest.mark.parametrize(
    "parents, said",
    [
        ({"tail": "left_hop"}, "'tail' starts from 'left_hop', which is a keypoint neither of it nor of 'crowdpose14'"),
        ({"tial": "left_hip"}, "names a parent of 'tial', which it does not have"),
        ({"tail": "horn", "horn": "tail"}, "parents lead in a circle"),
    ],
)
def test_a_parent_that_cannot_be_is_refused_by_name(parents: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidSkeleton, match=said):
        grow(build_model(), SKELETON, replace(TAILED, parents=parents))
