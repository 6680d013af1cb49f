"""Tokens and proposals do not depend on padding, nor on the other images of a batch."""

import torch
from torch import Tensor

from clickpose.model import ClickPose
from clickpose.model.encoder import Tokens
from clickpose.model.proposals import Proposals, proposal_anchors
from tests.clickpose.builders import build_images, build_model, seeded

SIZE_HW, PADDED_HW = (64, 96), (128, 160)


def random_maps(size_hw: tuple[int, int], seed: int = 0) -> list[Tensor]:
    """Projected feature maps of one image."""
    generator = seeded(seed)
    return [torch.randn(1, 32, size_hw[0] // s, size_hw[1] // s, generator=generator) for s in (8, 16, 32)]


def padded(maps: list[Tensor], garbage_seed: int) -> tuple[list[Tensor], Tensor]:
    """The same maps in the corner of larger ones, with anything under the padding, and the padding."""
    larger = random_maps(PADDED_HW, garbage_seed)
    for around, inside in zip(larger, maps, strict=True):
        around[..., : inside.shape[-2], : inside.shape[-1]] = inside
    padding = torch.ones(1, *PADDED_HW, dtype=torch.bool)
    padding[:, : SIZE_HW[0], : SIZE_HW[1]] = False
    return larger, padding


def inside(tokens: Tokens) -> Tensor:
    return tokens.content if tokens.padding is None else tokens.content[~tokens.padding][None]


def look(model: ClickPose, maps: list[Tensor], padding: Tensor | None) -> tuple[Tokens, Proposals]:
    with torch.inference_mode():
        memory = model.encoder(maps, padding)
        return memory, model.propose(memory)


def test_padding_changes_no_token_and_no_proposal() -> None:
    model, maps = build_model(), random_maps(SIZE_HW)
    memory, proposals = look(model, maps, None)
    padded_memory, padded_proposals = look(model, *padded(maps, garbage_seed=1))
    torch.testing.assert_close(inside(padded_memory), memory.content, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(padded_proposals.boxes, proposals.boxes, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(padded_proposals.logits, proposals.logits, atol=1e-4, rtol=1e-4)


def test_what_lies_under_padding_is_never_seen() -> None:
    model, maps = build_model(), random_maps(SIZE_HW)
    (first, _), (second, _) = (look(model, *padded(maps, garbage_seed=seed)) for seed in (1, 2))
    assert torch.equal(inside(first), inside(second))


def test_no_padding_equals_padding_of_nothing() -> None:
    model, maps = build_model(), random_maps(SIZE_HW)
    plain, _ = look(model, maps, None)
    masked, _ = look(model, maps, torch.zeros(1, *SIZE_HW, dtype=torch.bool))
    torch.testing.assert_close(masked.content, plain.content)


def test_a_batch_of_two_equals_one_and_one() -> None:
    model, images = build_model(), build_images(2)
    with torch.inference_mode():
        together, apart = model.encode(images).content, [model.encode(image[None]).content for image in images]
    torch.testing.assert_close(together, torch.cat(apart), atol=1e-4, rtol=1e-4)


def test_finer_levels_are_looked_at_but_not_changed() -> None:
    model, maps = build_model(encoder_first_level=1), random_maps(SIZE_HW)
    memory, proposals = look(model, maps, None)
    finest = maps[0].flatten(2).transpose(1, 2)
    assert torch.equal(memory.content[:, : finest.shape[1]], finest)
    assert (proposals.tokens >= finest.shape[1]).all()
    other, _ = look(model, [maps[0] + 1, *maps[1:]], None)
    assert (other.content[:, finest.shape[1] :] != memory.content[:, finest.shape[1] :]).any()


def test_a_fourth_level_halves_the_third() -> None:
    with torch.inference_mode():
        memory = build_model(num_levels=4).encode(build_images(1, SIZE_HW))
    assert memory.shapes == ((8, 12), (4, 6), (2, 3), (1, 2))


def test_proposals_come_best_first_from_the_most_person_like_tokens() -> None:
    model = build_model()
    memory, proposals = look(model, random_maps(SIZE_HW), None)
    scores = proposals.logits.amax(-1)[0]
    assert torch.equal(scores, scores.sort(descending=True).values)
    assert len(set(proposals.tokens[0].tolist())) == len(scores) == model.config.num_queries
    everyone = build_model(num_queries=1000).propose(memory)
    assert everyone.logits.shape[1] == memory.content.shape[1]
    assert set(everyone.tokens[0, : len(scores)].tolist()) == set(proposals.tokens[0].tolist())


def test_proposals_start_at_their_cells_and_grow_with_the_level() -> None:
    memory, _ = look(build_model(), random_maps((128, 128)), None)
    boxes = proposal_anchors(memory)[0].sigmoid()[0]
    first_of_level = [memory.first_token(level) for level in range(3)]
    for token, cells, size in zip(first_of_level, (16, 8, 4), (0.05, 0.1, 0.2), strict=True):
        torch.testing.assert_close(boxes[token], torch.tensor([0.5 / cells, 0.5 / cells, size, size]))
