"""What came of pre-labelling: how many images were labelled, kept, failed or left."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PrelabelSummary:
    """The result of a run. Counts are of images: ``num_pictures`` is the sum of the others.

    Attributes:
        out: the folder or URI of the pre-labels.
        model_version: the model that labelled.
        num_pictures: asked for, each once.
        num_labelled: labelled by this run.
        num_kept: labelled by an earlier run.
        num_failed: listed in ``failed.parquet`` with the reason.
        num_left: neither, because of a limit, or because too many failed.
        seconds: how long this run took.
    """

    out: str
    model_version: str
    num_pictures: int = 0
    num_labelled: int = 0
    num_kept: int = 0
    num_failed: int = 0
    num_left: int = 0
    seconds: float = 0.0

    def sentence(self) -> str:
        """Say how the run ended."""
        others = {"labelled before": self.num_kept, "failed": self.num_failed, "left": self.num_left}
        told = "".join(f", {count} {what}" for what, count in others.items() if count)
        return (
            f"{self.model_version} labelled {self.num_labelled} of {self.num_pictures} images in {self.seconds:.0f} s"
            f"{told}; the results are in {self.out}"
        )
