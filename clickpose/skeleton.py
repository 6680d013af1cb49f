"""Keypoint schemas as data: names, links, flip pairs, OKS sigmas. No other code depends on the number of keypoints."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clickpose.errors import InvalidSkeleton
from clickpose.sides import find_flip_pairs

DEFAULT_SIGMA = 0.079  # that of COCO's shoulder, a middle value: the default for a schema that has no sigmas


@dataclass(frozen=True)
class Skeleton:
    """A keypoint schema of K keypoints.

    Attributes:
        name: of the schema, e.g. ``coco17``.
        keypoints: K distinct names, in the order of every ``(..., K, 2)`` array.
        sigmas: K OKS standard deviations; the OKS exponent uses ``(2 sigma)^2``.
        links: pairs of 0-based indices that are drawn as limbs.
        flip_pairs: pairs of 0-based indices that are swapped when the image is mirrored.
        parents: for a keypoint new to a model, the neighbour whose weights it starts from, by name.

    Raises:
        InvalidSkeleton: lengths differ, names repeat, or an index lies outside ``0..K-1``.
    """

    name: str
    keypoints: tuple[str, ...]
    sigmas: tuple[float, ...]
    links: tuple[tuple[int, int], ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] = ()
    parents: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the schema is consistent."""
        if not self.keypoints:
            raise InvalidSkeleton(f"skeleton {self.name!r} has no keypoints")
        if len(set(self.keypoints)) != len(self.keypoints):
            raise InvalidSkeleton(f"skeleton {self.name!r} names a keypoint twice: {self.keypoints}")
        if len(self.sigmas) != len(self.keypoints):
            raise InvalidSkeleton(
                f"skeleton {self.name!r} has {len(self.keypoints)} keypoints and {len(self.sigmas)} sigmas"
            )
        if not all(0 < sigma < math.inf for sigma in self.sigmas):
            raise InvalidSkeleton(f"skeleton {self.name!r} has a sigma that is not positive and finite")
        for pairs, what in ((self.links, "link"), (self.flip_pairs, "flip pair")):
            for pair in pairs:
                if len(pair) != 2 or not all(0 <= index < len(self.keypoints) for index in pair):
                    raise InvalidSkeleton(
                        f"skeleton {self.name!r}: {what} {pair} is outside 0..{len(self) - 1}; keypoints count from 0"
                    )
        flipped = [index for pair in self.flip_pairs for index in pair]
        if len(set(flipped)) != len(flipped):
            raise InvalidSkeleton(f"skeleton {self.name!r} flips a keypoint twice")

    def __len__(self) -> int:
        """K, the number of keypoints."""
        return len(self.keypoints)

    @cached_property
    def flip_permutation(self) -> NDArray[np.int64]:
        """``(K,)`` indices: ``keypoints[flip_permutation]`` renames the keypoints of a mirrored image."""
        order = np.arange(len(self))
        for left, right in self.flip_pairs:
            order[[left, right]] = right, left
        return order

    @property
    def can_mirror(self) -> bool:
        """Whether the keypoints of a mirrored image can be named; without pairs, left would be learned as right."""
        return bool(self.flip_pairs) or len(self) == 1

    @cached_property
    def sigma_array(self) -> NDArray[np.float32]:
        """``(K,)`` OKS sigmas as float32."""
        return np.asarray(self.sigmas, np.float32)

    def index(self, keypoint: str | int) -> int:
        """Return the 0-based index of a keypoint given by name or index; KeyError if there is none."""
        if isinstance(keypoint, str) and keypoint in self.keypoints:
            return self.keypoints.index(keypoint)
        if isinstance(keypoint, int) and 0 <= keypoint < len(self):
            return keypoint
        raise KeyError(keypoint)

    def select(self, selection: str) -> list[str]:
        """Return the names of a selection: names and ranges counted from 1, as in ``1-17,left_toe``.

        Raises:
            InvalidSkeleton: a name or number is not one of this skeleton's.
        """
        chosen: list[str] = []
        for part in selection.split(","):
            first, dash, last = part.strip().partition("-")
            if first.isdigit() and (last.isdigit() or not dash):
                begin, end = int(first), int(last or first)
                names = list(self.keypoints[begin - 1 : end]) if 1 <= begin <= end <= len(self) else []
            else:
                names = [part.strip()] if part.strip() in self.keypoints else []
            if not names:
                raise InvalidSkeleton(
                    f"skeleton {self.name!r} has no keypoints {part.strip()!r}; it has {len(self)}, by number or name:"
                    f" {', '.join(self.keypoints)}"
                )
            chosen += names
        return chosen

    def linked(self, keypoint: int) -> list[int]:
        """Return the indices of the keypoints at the other ends of a keypoint's links."""
        return [first + second - keypoint for first, second in self.links if keypoint in (first, second)]

    def shared_with(self, other: Skeleton) -> list[tuple[int, int]]:
        """Pairs (index here, index in ``other``) of the keypoints that carry the same name."""
        return [(i, other.keypoints.index(name)) for i, name in enumerate(self.keypoints) if name in other.keypoints]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``from_dict`` reads them back."""
        return {
            "name": self.name,
            "keypoints": list(self.keypoints),
            "sigmas": list(self.sigmas),
            "links": [list(link) for link in self.links],
            "flip_pairs": [list(pair) for pair in self.flip_pairs],
            "parents": dict(self.parents),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Skeleton:
        """Build a skeleton from plain values; only ``name`` and ``keypoints`` are required.

        Links and flip pairs are pairs of 0-based indices or of names; without flip pairs they follow from the names.

        Raises:
            InvalidSkeleton: a field is missing or contradicts another.
        """
        try:
            keypoints = tuple(str(name) for name in values["keypoints"])
            flip_pairs = values.get("flip_pairs")
            return cls(
                name=str(values["name"]),
                keypoints=keypoints,
                sigmas=tuple(float(s) for s in values.get("sigmas") or [DEFAULT_SIGMA] * len(keypoints)),
                links=_pairs(values.get("links") or (), keypoints),
                flip_pairs=find_flip_pairs(keypoints) if flip_pairs is None else _pairs(flip_pairs, keypoints),
                parents=dict(values.get("parents", {})),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            name = values.get("name", "?") if isinstance(values, Mapping) else "?"
            raise InvalidSkeleton(f"skeleton {name!r} is malformed: {error!r}") from error

    @classmethod
    def load(cls, name_or_path: str | Path) -> Skeleton:
        """Load a built-in skeleton by name (``coco17``, ``crowdpose14``, ...) or any other from a JSON file.

        Raises:
            InvalidSkeleton: there is no such skeleton, or the file does not describe one.
        """
        source = resources.files("clickpose") / "skeletons" / f"{name_or_path}.json"
        try:
            content = source.read_bytes() if source.is_file() else Path(name_or_path).read_bytes()
        except (OSError, ValueError) as error:
            raise InvalidSkeleton(f"no skeleton {str(name_or_path)!r}: built in are {', '.join(built_in())}") from error
        try:
            return cls.from_dict(json.loads(content))  # in UTF-8 or UTF-16, with a mark or without
        except UnicodeDecodeError as error:
            raise InvalidSkeleton(
                f"skeleton file {str(name_or_path)!r} is not in UTF-8 or UTF-16: save it as UTF-8"
            ) from error
        except ValueError as error:
            raise InvalidSkeleton(f"skeleton file {str(name_or_path)!r} cannot be read as JSON: {error}") from error


def built_in() -> list[str]:
    """Names of the skeletons that come with the package."""
    folder = resources.files("clickpose") / "skeletons"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def _pairs(pairs: Sequence[Sequence[int | str]], keypoints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Read pairs of keypoints, each end a 0-based index or a name."""

    def index(end: int | str) -> int:
        if isinstance(end, str) and end not in keypoints:
            raise ValueError(f"there is no keypoint {end!r}")
        return keypoints.index(end) if isinstance(end, str) else int(end)

    return tuple((index(first), index(second)) for first, second in pairs)
