"""Requests about an image go to the replica that has it encoded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import DeploymentHandleSource, DeploymentID, ReplicaID

from serve.replica.routing import EncodedImageRouter, routing_key, routing_stats

POSES = DeploymentID("poses")
IMAGES = [f"{k}.png" for k in range(200)]


class Replica:
    """A replica as its router sees it."""

    def __init__(self, name: str, *images: str, ready: bool = True) -> None:
        self.replica_id = ReplicaID(name, POSES)
        self.routing_stats = routing_stats(images, ready=ready)

    async def get_queue_len(self, *, deadline_s: float) -> int:
        return 0


def homes(*reports: list[Replica]) -> dict[str, str]:
    """Return the name of the replica that each image's requests are sent to, after these reports."""

    async def route() -> dict[str, str]:
        router = EncodedImageRouter(POSES, DeploymentHandleSource.REPLICA)
        router.initialize_state(num_virtual_nodes=100, num_fallback_replicas=0)
        for replicas in reports:
            router.update_replicas(replicas)
        chosen = {}
        for image in IMAGES:
            request: Any = SimpleNamespace(
                metadata=SimpleNamespace(session_id=routing_key(image)), routing_context=SimpleNamespace()
            )
            ((only,),) = await router.choose_replicas(reports[-1], request)
            chosen[image] = only.replica_id.unique_id
        return chosen

    return asyncio.run(route())


def test_new_images_are_spread_over_all_replicas() -> None:
    chosen = list(homes([Replica("a"), Replica("b"), Replica("c")]).values())
    assert all(chosen.count(name) > 30 for name in "abc")


def test_an_encoded_image_stays_when_replicas_are_added() -> None:
    chosen = homes([Replica("a", *IMAGES[:100]), Replica("b"), Replica("c")])
    assert {chosen[image] for image in IMAGES[:100]} == {"a"}
    assert set(chosen.values()) == {"a", "b", "c"}


def test_only_the_images_of_a_replica_that_is_gone_move() -> None:
    before = homes([Replica("a"), Replica("b"), Replica("c")])
    theirs = {name: [image for image, home in before.items() if home == name] for name in "abc"}
    after = homes([Replica(name, *theirs[name]) for name in "ab"])
    assert {image for image in IMAGES if after[image] != before[image]} == set(theirs["c"])


def test_a_replica_that_loads_its_model_gets_no_images_unless_all_do() -> None:
    loading, all_loading = Replica("a", ready=False), [Replica("a", ready=False), Replica("b", ready=False)]
    assert set(homes([loading, Replica("b"), Replica("c", *IMAGES[:50])]).values()) == {"b", "c"}
    assert set(homes(all_loading).values()) == {"a", "b"}


@pytest.mark.parametrize("loaded", [(), ("a",), ("b",)])
def test_where_images_go_does_not_depend_on_which_replica_loaded_its_model_first(loaded: tuple[str, ...]) -> None:
    ready = [Replica("a"), Replica("b")]
    assert homes([Replica(name, ready=name in loaded) for name in "ab"], ready) == homes(ready)


@pytest.mark.parametrize("order", [list, lambda replicas: list(reversed(replicas))])
def test_every_ingress_chooses_the_same_of_two_replicas_with_the_same_image(order: Callable[..., Any]) -> None:
    replicas = [Replica("a", *IMAGES), Replica("b", *IMAGES)]
    assert homes(order(replicas)) == homes(replicas)
