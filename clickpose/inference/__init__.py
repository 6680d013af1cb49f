"""The network as inference runs it: the same answers, rewritten for speed.

``clickpose.model`` says what is computed and is what training runs. ``prepare`` copies such a network and replaces
what can be computed faster when no gradient is needed:

    backbone.py    convolutions with frozen norms and activations folded in
    products.py    linear layers and convolutions through oneDNN (onednn.py) where that is faster
    sampling.py    bilinear sampling as one weighted gather
    attention.py   one product for places and weights, no masks
    decoder.py     outputs that inference does not use are not computed
    choices.py     which variant is faster on this machine, measured once
    layers.py      encoder layers a few thousand tokens at a time, ReLU inside products
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

from clickpose.inference.attention import GatheringAttention, QueryAttention
from clickpose.inference.backbone import fold, fold_backbone
from clickpose.inference.choices import choose_kernels
from clickpose.inference.decoder import InferenceDecoder
from clickpose.inference.layers import FusedFeedForward, PartwiseEncoderLayer, mlp
from clickpose.inference.products import Product
from clickpose.model import ClickPose
from clickpose.model.attention import DeformableAttention
from clickpose.model.backbone import Backbone
from clickpose.model.encoder import EncoderLayer
from clickpose.model.feedback import FeedbackLoop
from clickpose.model.layers import MLP, FeedForward
from clickpose.rewriting import Rewrites, rewrite

LoopNetwork = TypeVar("LoopNetwork", bound=FeedbackLoop)
REWRITES: Rewrites = {
    Backbone: fold_backbone,
    EncoderLayer: PartwiseEncoderLayer,
    DeformableAttention: GatheringAttention,
    nn.MultiheadAttention: QueryAttention,
    FeedForward: FusedFeedForward,
    MLP: mlp,
    nn.Linear: Product.of,
}


def prepare_loop(network: LoopNetwork, *, read: Sequence[int], keep: type[nn.Module]) -> LoopNetwork:
    """Return pose layers of another form of the method that answer as those of ``network``, only faster.

    Args:
        network: on the device where it will run; see ``prepare`` for what is copied.
        read: the pose layers whose outputs are needed.
        keep: modules that stay as they are.
    """
    with torch.no_grad():
        copied = copy.deepcopy(network).eval().requires_grad_(False)
        rewrite(copied.decoder, {**REWRITES, keep: lambda module: module})
        copied.decoder = InferenceDecoder(copied.decoder, read)
        choose_kernels(copied.decoder)
    return copied


def prepare(model: ClickPose) -> ClickPose:
    """Return a network that answers as ``model`` does, only faster.

    Weights are copied: training ``model`` further does not change what is returned, which cannot be trained or saved.
    Answers differ by rounding: logits by less than 2e-5, boxes and points by less than 1e-6.

    Args:
        model: on the device where it will run.
    """
    with torch.no_grad():
        network = copy.deepcopy(model).eval().requires_grad_(False)
        for projection in network.projection.projections:
            projection[0] = fold([projection[0]])[0]
        rewrite(network, REWRITES)
        network.decoder = InferenceDecoder(network.decoder)
        choose_kernels(network)
    return network
