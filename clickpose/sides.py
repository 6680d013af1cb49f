"""Left and right in the names of keypoints, in any spelling: ``left_eye``, ``L_Eye``, ``eye.L``, ``lEye``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

OPPOSITE = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "左": "右", "l": "r", "L": "R"}
WORD = re.compile("left|Left|LEFT|左")
LETTER = re.compile(r"(?<![^\W\d_])[lL]|[lL](?![^\W\d_])|(?<=[a-z])L")  # begins or ends a run of letters, or eyeLInner


def find_flip_pairs(keypoints: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Find, by their names, the keypoints that are swapped when an image is mirrored.

    A name with a word for left, or failing that an ``l`` at the start or end of a word, is paired with the name
    that differs from it only in this. Every keypoint is in one pair at most.

    Returns:
        Pairs of 0-based indices, left and right, by the index of the left one.
    """
    index_of = {name.casefold(): index for index, name in enumerate(keypoints)}
    right_of: dict[int, int] = {}
    for spelling in (WORD, LETTER):
        for left, name in enumerate(keypoints):
            found = (index_of.get(other.casefold()) for other in _mirrored(name, spelling))
            right = next((index for index in found if index is not None), left)
            if not {left, right} & {*right_of.keys(), *right_of.values()}:
                right_of |= {left: right} if right != left else {}
    return tuple(sorted(right_of.items()))


def _mirrored(name: str, spelling: re.Pattern[str]) -> Iterator[str]:
    """Yield a name with each of its words for left replaced by the one for right."""
    for match in spelling.finditer(name):
        yield name[: match.start()] + OPPOSITE[match[0]] + name[match.end() :]
