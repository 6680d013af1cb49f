"""One file of recorded arrays, and how far ours are from them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from clickpose.training.targets import Target

EXACT = 0.0
ACTIVATION = 5e-4  # logits and everything before them, absolute
COORDINATE = 5e-5  # boxes and keypoints in [0, 1], absolute
RELATIVE = 1e-4  # losses, by their own size
BACKBONE = 1e-5  # features near 100, by the largest of them
GRADIENT = 1.0  # of an allowance of 3e-3 of the norm and 1e-3
PRECISION = 1e-6  # AP, absolute
NOT_NUMBERS = {"meta"}


@dataclass(frozen=True)
class Line:
    """How one array compares."""

    file: str
    array: str
    error: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "FAIL"
        return f"{self.file:<26} {self.array:<36} error {self.error:<9.2e} tolerance {self.tolerance:<8.1e} {verdict}"


@dataclass
class Fixture:
    """The arrays of a file. Reading one by name makes it an input; ``compare`` holds it against ours."""

    path: Path
    prepared: bool = False  # compare the network as inference runs it
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        with np.load(self.path) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.untouched = set(self.arrays) - NOT_NUMBERS
        self.meta = json.loads(str(self.arrays["meta"])) if "meta" in self.arrays else {}

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.arrays:
            raise SystemExit(f"{self.path} lacks the array {name}")
        self.untouched.discard(name)
        return self.arrays[name]

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self[name])

    def names(self, prefix: str) -> Iterator[str]:
        return (name for name in self.arrays if name.startswith(prefix))

    @property
    def targets(self) -> list[Target]:
        """The persons of each image."""
        return [self._target(i) for i in range(len(self.meta["image_seeds"]))]

    def _target(self, i: int) -> Target:
        for name in self.names("target_labels_"):
            self.untouched.discard(name)
        num_keypoints = self.meta["K"]
        keypoints = self.tensor(f"target_keypoints_{i}").reshape(-1, 3 * num_keypoints)
        xy, labelled = keypoints.split([2 * num_keypoints, num_keypoints], -1)
        return Target(
            self.tensor(f"target_boxes_{i}").reshape(-1, 4),
            xy.unflatten(-1, (-1, 2)),
            labelled,
            self.tensor(f"target_area_{i}"),
        )

    def compare(self, name: str, ours: ArrayLike | Tensor, tolerance: float = EXACT) -> None:
        """Note the largest absolute difference; an array the file lacks is passed over."""
        if name in self.arrays:
            self.note(name, difference(ours, self[name]), tolerance)

    def compare_by_size(self, name: str, ours: ArrayLike | Tensor, tolerance: float = RELATIVE) -> None:
        """Note the largest difference in units of the largest recorded value."""
        if name in self.arrays:
            size = float(np.nan_to_num(np.abs(self[name])).max(initial=1e-9))
            self.note(name, difference(ours, self[name]) / size, tolerance)

    def note(self, name: str, error: float, tolerance: float) -> None:
        self.lines.append(Line(self.path.name, name, error, tolerance))


def difference(ours: ArrayLike | Tensor, recorded: np.ndarray) -> float:
    """Largest absolute difference; infinite if shapes differ or a number is missing on one side only."""
    ours = ours.detach().numpy() if isinstance(ours, Tensor) else np.asarray(ours)
    if ours.size == recorded.size == 0:
        return 0.0
    if ours.shape != recorded.shape:
        return float("inf")
    ours, recorded = ours.astype(np.float64), recorded.astype(np.float64)
    if (np.isnan(ours) != np.isnan(recorded)).any():
        return float("inf")
    same = (ours == recorded) | np.isnan(recorded)
    return float(np.abs(np.where(same, 0, ours) - np.where(same, 0, recorded)).max(initial=0))
