"""What one replica says of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReplicaStatus:
    """A replica's model, and what it holds.

    Attributes:
        version: the model version being served, None while the first one loads.
        refused: a version that was wanted and cannot be served.
        problem: why the wanted version is not served, empty if it is.
        cached_images: encoded pictures held.
        cached_bytes: memory that they keep.
        cache_hits: requests that found their picture encoded.
        cache_misses: requests whose picture had to be encoded.
        sessions: annotators' screens remembered.
    """

    version: str | None
    refused: str | None
    problem: str
    cached_images: int
    cached_bytes: int
    cache_hits: int
    cache_misses: int
    sessions: int
