"""The Serve application: a thin ingress, and model replicas behind it.

    from ray import serve
    from serve.app import AppArgs, build_app

    serve.run(build_app(AppArgs(store="/data/store", image_roots=["/data/photos"])))

or, in a Serve configuration file, ``import_path: serve.app:build_app`` with the fields of ``AppArgs`` below ``args:``.
"""

# no "from __future__ import annotations" here: Serve reads build_app's annotation, and turns ``args:`` into AppArgs
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from serve.replica.replica import PoseReplica
from serve.settings import AppArgs
from serve.web.ingress import PoseIngress

__all__ = ["AppArgs", "build_app"]

# Experimental in Ray 2.60; named by a string because a class would be pickled with the application.
IMAGE_AFFINITY = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
INGRESS_CPUS = 0.1
INGRESS_MAX_ONGOING = 1000  # beyond it Ray answers, and does not say when to come back
HEALTH_CHECK_PERIOD_S = 1.0  # requests for a dead replica's pictures wait until its end is noticed


def build_app(args: AppArgs) -> Application:
    """Return the application; everything that can be wrong with its arguments is found here.

    Raises:
        InvalidConfig: there is no secret.
        StoreError: the store or the model folder cannot be read, or nothing was promoted yet.
        InvalidSkeleton: the model's skeleton is malformed.
    """
    args = args.with_secrets()
    source = args.model_source()
    version = source.wanted_version()
    skeleton = source.read_skeleton(version)
    replicas = _replica_deployment(args).bind(args, skeleton)
    return _ingress_deployment(args).bind(replicas, args, skeleton, version)  # type: ignore[no-any-return]


def _ingress_deployment(args: AppArgs) -> Any:
    return serve.deployment(
        PoseIngress,
        name="ingress",
        max_ongoing_requests=INGRESS_MAX_ONGOING,
        max_queued_requests=INGRESS_MAX_ONGOING,
        ray_actor_options={"num_cpus": INGRESS_CPUS},
    )


def _replica_deployment(args: AppArgs) -> Any:
    """Requests about one picture go to one replica and nowhere else: it alone knows the annotator's screen."""
    affinity = {"num_virtual_nodes": 100, "num_fallback_replicas": 0}
    router = {"request_router_class": IMAGE_AFFINITY, "request_router_kwargs": affinity}
    return serve.deployment(
        PoseReplica,
        name="poses",
        num_replicas=args.replicas,
        max_ongoing_requests=args.max_ongoing,
        max_queued_requests=args.max_queued,
        request_router_config=RequestRouterConfig.model_validate(router),
        ray_actor_options={"num_cpus": args.num_cpus, "num_gpus": args.num_gpus},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        graceful_shutdown_timeout_s=args.request_timeout_s,
    )
