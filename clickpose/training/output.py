"""The predictions of one training step, before any loss."""

from __future__ import annotations

from dataclasses import dataclass

from clickpose.model.decoder import LayerOutput
from clickpose.training.denoising import DenoisingQueries


@dataclass(frozen=True)
class TrainingOutput:
    """Everything that is supervised in one step.

    Attributes:
        proposals: the chosen tokens' class and box.
        layers: every decoder layer, real queries.
        denoised: every decoder layer, noised queries; empty without denoising.
        denoising: the noised queries; None without denoising.
        feedback: the pose layers of the last round of each loop; empty when none ran.
    """

    proposals: LayerOutput
    layers: list[LayerOutput]
    denoised: list[LayerOutput]
    denoising: DenoisingQueries | None
    feedback: list[LayerOutput]
