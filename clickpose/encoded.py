"""What a predictor keeps of an image, whichever form its model has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True)
class EncodedImage(ABC):
    """The data of an image that detect and refine need.

    Attributes:
        size_wh: width and height of the image in pixels.
    """

    size_wh: tuple[int, int]

    @property
    @abstractmethod
    def num_bytes(self) -> int:
        """Memory in use, apart from some numbers per person."""
