"""The network as training runs it: the same losses and gradients, rewritten for speed.

``clickpose.model`` says what is computed. ``prepare`` replaces, in place, what can run in less time or memory:

    attention.py          deformable attention samples by the compiled kernel, or from values laid out once
    kernel.py             that kernel, for CPUs: deformable_cpu.cpp, compiled by compiler.py
    person_attention.py   attention among real and noised persons without a mask
    backbone.py           frozen norms folded into the convolutions before them
    heavy_parts.py        bfloat16, and activations computed again in the backward pass

Weights keep their names.
"""

from __future__ import annotations

from torch import nn

from clickpose.model import ClickPose
from clickpose.model.attention import DeformableAttention
from clickpose.rewriting import Rewrites, rewrite
from clickpose.training.fast.attention import FastDeformableAttention
from clickpose.training.fast.backbone import fold_norms
from clickpose.training.fast.heavy_parts import apply_precision
from clickpose.training.fast.person_attention import PersonAttention

REWRITES: Rewrites = {DeformableAttention: FastDeformableAttention, nn.MultiheadAttention: PersonAttention}


def prepare(model: ClickPose, *, precision: str = "float32", checkpoint_activations: bool = False) -> ClickPose:
    """Make a network train faster, with the same results; return it.

    Args:
        model: changed in place. Its weights stay the same tensors under the same names.
        precision: of matrix products and convolutions in heavy parts, "float32" or "bfloat16".
        checkpoint_activations: keep the inputs of heavy parts only, and run these again in the backward pass.
    """
    rewrite(model, REWRITES)
    fold_norms(model.backbone)
    apply_precision(model, precision=precision, checkpoint_activations=checkpoint_activations)
    return model
