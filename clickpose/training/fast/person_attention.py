"""Attention among persons in training: real persons see only themselves, noised ones all real ones, too."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clickpose.rewriting import take_over


class PersonAttention(nn.MultiheadAttention):
    """``nn.MultiheadAttention`` under ``DenoisingQueries.pose_mask`` that computes only the unmasked pairs."""

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        take_over(self, attention)

    def attend_with_noised(self, query: Tensor, value: Tensor, group: int, num_noised: int) -> Tensor:
        """Attend, each person to itself and noised ones to the real ones, too.

        Args:
            query: ``(B, (M + N) G, D)`` queries, and keys at once.
            value: ``(B, (M + N) G, D)``.
            group: G, tokens of a person.
            num_noised: M, persons that come first and see themselves and all N real ones; real ones see themselves.

        Returns:
            ``(B, (M + N) G, D)``.
        """
        heads = [t.unflatten(2, (-1, group)) for t in self._project(query, value)]  # (B, H, persons, G, D / H)
        sizes = [num_noised, heads[0].shape[2] - num_noised]
        (noised_q, q), (noised_k, k), (noised_v, v) = (t.split(sizes, 2) for t in heads)
        noised = _attend_to_own_and_real(noised_q, noised_k, noised_v, k.flatten(2, 3), v.flatten(2, 3))
        attended = torch.cat((noised, F.scaled_dot_product_attention(q, k, v)), 2)
        answer: Tensor = self.out_proj(attended.flatten(2, 3).transpose(1, 2).flatten(2))
        return answer

    def _project(self, query: Tensor, value: Tensor) -> list[Tensor]:
        """Queries, keys and values ``(B, H, Q, D / H)``."""
        width, weight, bias = self.embed_dim, self.in_proj_weight, self.in_proj_bias
        query_key = F.linear(query, weight[: 2 * width], bias[: 2 * width]).chunk(2, -1)
        values = F.linear(value, weight[2 * width :], bias[2 * width :])
        return [t.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for t in (*query_key, values)]


def _attend_to_own_and_real(q: Tensor, own_k: Tensor, own_v: Tensor, real_k: Tensor, real_v: Tensor) -> Tensor:
    """One softmax over two kinds of keys: ``(B, H, M, G, C)`` of each one's own person, ``(B, H, R, C)`` of all.

    Written out, so that the two are not concatenated, which would copy the wide one twice.
    """
    group, q = q.shape[3], q * q.shape[-1] ** -0.5
    to_own = (q @ own_k.transpose(-1, -2)).flatten(2, 3)
    to_real = q.flatten(2, 3) @ real_k.transpose(-1, -2)
    top = to_own.detach().amax(-1, keepdim=True).maximum(to_real.detach().amax(-1, keepdim=True))
    own, real = (to_own - top).exp_(), (to_real - top).exp_()
    attended = (own.unflatten(2, (-1, group)) @ own_v).flatten(2, 3) + real @ real_v
    total = own.sum(-1, keepdim=True) + real.sum(-1, keepdim=True)
    answer: Tensor = (attended / total).unflatten(2, (-1, group))
    return answer
