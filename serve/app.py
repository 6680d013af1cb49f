"""The Serve application: a thin ingress in front of model replicas.

    from ray import serve
    from serve.app import AppArgs, build_app

    serve.run(build_app(AppArgs(store="/data/store", image_roots=["/data/photos"])))

or, in a Serve configuration file, ``import_path: serve.app:build_app`` with the fields of ``AppArgs`` below ``args:``.
"""

# no "from __future__ import annotations" here: Serve reads build_app's annotation to turn ``args:`` into AppArgs
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from clickpose.skeleton import Skeleton
from serve.images.buckets import BucketFiles, local_path
from serve.images.label_studio import LabelStudioFiles
from serve.images.source import ImageLimits, ImageSource
from serve.images.uploads import Uploads
from serve.models.source import ModelSource
from serve.replica.replica import PoseReplica
from serve.settings import AppArgs
from serve.web.ingress import PoseIngress

if TYPE_CHECKING:
    from clickpose.predictor import Predictor

__all__ = ["AppArgs", "build_app"]

IMAGE_ROUTER = "serve.replica.routing.EncodedImageRouter"  # a class would be pickled with the application
ROUTING_PERIOD_S = 2.0  # how often replicas report which images they have encoded
TARGET_ONGOING = 2.0  # requests per replica, on average: one that runs and one that waits
INGRESS_CPUS = 0.1
INGRESS_MAX_ONGOING = 1000  # beyond this Ray itself rejects requests, without a Retry-After header
HEALTH_CHECK_PERIOD_S = 1.0  # until a crash is noticed, requests for a replica's images wait


def build_app(args: AppArgs) -> Application:
    """Return the application, and check its arguments before anything starts.

    Raises:
        InvalidConfig: there is no secret, and anonymous access is not allowed.
        StoreError: the store or the model folder cannot be read, or no model has been promoted yet.
        InvalidSkeleton: the model's skeleton is malformed.
    """
    args = args.with_secrets()
    models = model_source(args)
    version = models.wanted_version()
    skeleton = models.read_skeleton(version)
    replicas = _replicas(args, models, skeleton)
    return _ingress_deployment(args).bind(replicas, args, skeleton, version)  # type: ignore[no-any-return]


def model_source(args: AppArgs) -> ModelSource:
    """Return the place that models are loaded from."""
    return ModelSource(store=args.store, folder=args.model)


def image_source(args: AppArgs) -> ImageSource:
    """Return the places that images may be read from."""
    token = args.label_studio_token.get_secret_value() if args.label_studio_token else None
    folders = [path for root in args.image_roots if (path := local_path(root))]
    return ImageSource(
        [Path(path) for path in folders],
        buckets=[BucketFiles(root) for root in args.image_roots if not local_path(root)],
        label_studio=LabelStudioFiles(args.label_studio_url, token) if args.label_studio_url else None,
        local_files_root=Path(args.local_files_root) if args.local_files_root else None,
        uploads=Uploads(args.upload_mib * 2**20),
        limits=ImageLimits(args.max_image_bytes, args.max_image_pixels, args.image_timeout_s),
    )


def load_predictor(device: str, half_cache: bool, folder: Path, version: str) -> "Predictor":
    """Load a model folder. Only replicas call this, so only they import torch."""
    import torch

    from clickpose.predictor import Predictor

    keep = torch.float16 if half_cache else torch.float32
    return Predictor.load(folder, device=device, version=version, keep=keep)


def _replicas(args: AppArgs, models: ModelSource, skeleton: Skeleton) -> Application:
    load = partial(load_predictor, args.device, args.half_cache)
    return _replica_deployment(args).bind(args, skeleton, models, image_source(args), load)  # type: ignore[no-any-return]


def _ingress_deployment(args: AppArgs) -> Any:
    return serve.deployment(
        PoseIngress,
        name="ingress",
        num_replicas=args.ingresses,
        max_ongoing_requests=INGRESS_MAX_ONGOING,
        max_queued_requests=INGRESS_MAX_ONGOING,
        ray_actor_options={"num_cpus": INGRESS_CPUS},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
    )


def _replica_deployment(args: AppArgs) -> Any:
    """All requests about one image go to the same replica: only that one knows what the annotator sees."""
    affinity = {"num_virtual_nodes": 100, "num_fallback_replicas": 0}
    router = {
        "request_router_class": IMAGE_ROUTER,
        "request_router_kwargs": affinity,
        "request_routing_stats_period_s": ROUTING_PERIOD_S,
    }
    return serve.deployment(
        PoseReplica,
        name="poses",
        **_scale(args),
        max_ongoing_requests=args.max_ongoing,
        max_queued_requests=args.max_queued,
        request_router_config=RequestRouterConfig.model_validate(router),
        ray_actor_options={"num_cpus": args.num_cpus, "num_gpus": args.num_gpus},
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        graceful_shutdown_timeout_s=args.request_timeout_s,
    )


def _scale(args: AppArgs) -> dict[str, Any]:
    """Return a fixed number of replicas, or how it follows the requests in progress."""
    if args.max_replicas is None:
        return {"num_replicas": args.replicas}
    scale = {
        "min_replicas": args.replicas,
        "max_replicas": args.max_replicas,
        "target_ongoing_requests": TARGET_ONGOING,
        "look_back_period_s": args.scale_up_after_s,
        "metrics_interval_s": args.scale_up_after_s / 5,
        "upscale_delay_s": args.scale_up_after_s,
        "downscale_delay_s": args.scale_down_after_s,
    }
    return {"autoscaling_config": scale}
