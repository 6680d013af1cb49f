"""Losses averaged on the device that computed them: reading a number would make the processor wait for it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class RunningMeans:
    """The means of scalars by name, each over the steps that have it."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add one step's scalars, without waiting for them."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().double()
            self.counts[name] = self.counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """Return the means; this waits for the device."""
        return {name: float(total) / self.counts[name] for name, total in self.sums.items()}

    def state_dict(self) -> dict[str, list[float]]:
        """Collect what ``load_state_dict`` restores: sum and count by name."""
        return {name: [float(total), self.counts[name]] for name, total in self.sums.items()}

    def load_state_dict(self, state: Mapping[str, list[float]], device: torch.device) -> None:
        """Restore what ``state_dict`` returned."""
        self.sums = {
            name: torch.tensor(total, dtype=torch.float64, device=device) for name, (total, _) in state.items()
        }
        self.counts = {name: int(count) for name, (_, count) in state.items()}
