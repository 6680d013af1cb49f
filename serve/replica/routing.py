"""Which replica answers: the one that has the image encoded, as long as it runs.

When replicas are added, no image moves, so nothing is encoded twice; new images go to them, too, once they have loaded
the model. When one is removed, only its images move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from ray.serve.experimental.consistent_hash_router import ConsistentHashRouter  # experimental in Ray 2.60

IMAGES, READY = "images", "ready"


def routing_key(image_url: str) -> str:
    """Return the key that requests about an image are routed by; it does not reveal the image's name."""
    return hashlib.blake2b(image_url.encode(), digest_size=8).hexdigest()


def routing_stats(image_urls: Iterable[str], *, ready: bool) -> dict[str, Any]:
    """Return what a replica reports to the routers of all ingresses: its images, and whether it has loaded a model."""
    return {IMAGES: sorted({routing_key(image_url) for image_url in image_urls}), READY: ready}


class EncodedImageRouter(ConsistentHashRouter):
    """Sends requests about an image to the replica that reports it; an image that none reports, by consistent hashing.

    So all ingresses choose the same replica. One that is still loading its model gets no images, unless all are.
    """

    def initialize_state(self, **settings: Any) -> None:
        """Set up a router without replicas."""
        super().initialize_state(**settings)
        self._replica_of: dict[str, Any] = {}

    def update_replicas(self, replicas: list[Any]) -> None:
        """Take over what the replicas that run now report; of several with the same image, all routers use the same."""
        super().update_replicas(replicas)
        ready = frozenset(one.replica_id for one in replicas if one.routing_stats.get(READY))
        if ready and len(ready) < len(replicas):
            self._rebuild_ring(ready)
        ordered = sorted((replica.replica_id for replica in replicas), key=lambda one: one.unique_id)
        images = {replica.replica_id: replica.routing_stats.get(IMAGES, ()) for replica in replicas}
        self._replica_of = {image: replica for replica in ordered for image in images[replica]}

    def _lookup_ranked_replicas(self, routing_key: str) -> list[Any]:
        if routing_key in self._replica_of:
            return [self._replica_of[routing_key]]
        return list(super()._lookup_ranked_replicas(routing_key))
