"""The decoder of one training step: noised persons are decoded before the real ones, in the same layers."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from clickpose.model.decoder import Decoder, LayerValues
from clickpose.model.decoder_layer import Attend
from clickpose.rewriting import take_over
from clickpose.training.denoising import DenoisingQueries
from clickpose.training.fast.person_attention import PersonAttention


class TrainingDecoder(Decoder):
    """``Decoder`` in which M noised persons come before the real ones.

    No gradient passes through the places where a layer looks, only through the boxes and points that it moves.

    Args:
        decoder: whose layers and heads it shares.
        noise: the noised persons; None if there are none.
    """

    def __init__(self, decoder: Decoder, noise: DenoisingQueries | None) -> None:
        take_over(self, decoder)
        self.noise = noise

    def person_attention(self) -> Attend:
        """Return how person queries see each other: as in ``DenoisingQueries.person_mask``."""
        return super().person_attention() if self.noise is None else partial(_attend_among_persons, noise=self.noise)

    def pose_attention(self, group: int) -> Attend:
        """Return how tokens of persons see each other: as in ``DenoisingQueries.pose_mask``."""
        if self.noise is None:
            return super().pose_attention(group)
        return partial(_attend_within_persons, noise=self.noise, group=group)

    def _run_layer(
        self, i: int, x: Tensor, boxes: Tensor, value: Tensor, values: LayerValues, attend: Attend
    ) -> Tensor:
        return super()._run_layer(i, x, boxes.detach(), value, values, attend)

    def _move_references(self, i: int, raw: Tensor, references: Tensor, freedom: Tensor | float) -> Tensor:
        return super()._move_references(i, raw, references.detach(), freedom)


def _attend_among_persons(attention: nn.Module, query: Tensor, value: Tensor, *, noise: DenoisingQueries) -> Tensor:
    return attend_masked(attention, query, value, noise.person_mask(query.shape[1] - noise.count))


def _attend_within_persons(
    attention: nn.Module, query: Tensor, value: Tensor, *, noise: DenoisingQueries, group: int
) -> Tensor:
    # in an image without persons, noised ones see each other
    if isinstance(attention, PersonAttention) and 0 not in noise.num_persons:
        return attention.attend_with_noised(query, value, group, noise.count)
    return attend_masked(attention, query, value, noise.pose_mask(query.shape[1] // group - noise.count))


def attend_masked(attention: nn.Module, query: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attend where ``mask (B, Q, Q)`` is False."""
    by_head = mask.repeat_interleave(attention.num_heads, 0)  # type: ignore[arg-type]
    return attention(query, query, value, attn_mask=by_head, need_weights=False)[0]  # type: ignore[no-any-return]
