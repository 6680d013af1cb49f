"""What came of pre-labelling: how many images were labelled, kept, failed or left."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PrelabelSummary:
    """The result of a run. Counts are of images: ``num_images`` is the sum of the others.

    Attributes:
        out: the folder or URI of the pre-labels.
        model_version: the model that labelled.
        num_images: asked for, each once.
        num_labelled: labelled by this run.
        num_kept: labelled by an earlier run.
        num_failed: listed in ``failed.parquet`` with the reason.
        num_left: neither, because of a limit, or because too many failed.
        seconds: how long this run took.
    """

    out: str
    model_version: str
    num_images: int = 0
    num_labelled: int = 0
    num_kept: int = 0
    num_failed: int = 0
    num_left: int = 0
    seconds: float = 0.0

    def sentence(self) -> str:
        """Say how the run ended."""
        others = _counted({"labelled before": self.num_kept, "failed": self.num_failed, "left": self.num_left})
        return (
            f"{self.model_version} labelled {self.num_labelled} of {self.num_images} images in {self.seconds:.0f} s"
            f"{others}; the results are in {self.out}"
        )

    def forecast(self, limit: int | None) -> str:
        """Say what a run would do of which this is the count; see ``count_missing``."""
        num_wanted = self.num_left if limit is None else min(limit, self.num_left)
        left = self.num_left - num_wanted
        others = _counted(
            {"labelled before": self.num_kept, "failed before": self.num_failed, "beyond the limit": left}
        )
        return f"{self.model_version} would label {num_wanted} of {self.num_images} images{others}"


def _counted(counts: dict[str, int]) -> str:
    return "".join(f", {count} {what}" for what, count in counts.items() if count)
