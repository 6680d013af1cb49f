"""Everything an operator can set on the service."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    model_validator,
)

from clickpose.errors import InvalidConfig
from clickpose.images import MAX_BYTES, MAX_PIXELS


def _absolute(uri: str) -> str:
    """Make a local path absolute: replicas run in another working directory."""
    return uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().absolute())


SERVER = re.compile(r"https?://[\w.-]+(:\d+)?(/|$)|https?://\[[0-9a-fA-F:.]+\](:\d+)?(/|$)")
MAX_TOGETHER = 8
IMAGE_SCHEMES = ("file", "s3", "gs", "gcs", "abfs")

Uri = Annotated[str, AfterValidator(_absolute)]


class AppArgs(BaseModel):
    """Arguments of the Serve application, from Python or from ``args:`` of a Serve configuration file.

    Attributes:
        store: root of a store; its current model is served, and replaced when another is promoted. Or
        model: a model folder; it is never reloaded.
        device: ``auto``, ``cpu`` or ``cuda``.
        replicas: number of model replicas; requests about one image go to the same one.
        max_replicas: with it, replicas are added while requests wait, up to this number, and removed when idle.
        scale_up_after_s: seconds that requests have to wait until a replica is added.
        scale_down_after_s: seconds that a replica has to be idle until it is removed, with the images it has encoded.
        ingresses: number of web servers in front of the replicas; with two, one may crash. ``/metrics`` and the webhook
            events in ``/v1/status`` are those of the one that answers.
        num_cpus: logical CPUs of each replica.
        num_gpus: GPUs of each replica.
        max_ongoing: requests that one replica accepts at once.
        max_queued: requests that may wait for replicas; more are rejected, those from programs earlier.
        user: user name for Basic authentication, the only kind that Label Studio supports.
        secret: secret that callers must send, as Basic password or Bearer token.
        secret_env: environment variable that holds the secret if ``secret`` is not set.
        webhook_secret: secret that Label Studio's webhooks send in ``X-Clickpose-Secret``; ``secret`` by default.
        webhook_secret_env: environment variable that holds it if ``webhook_secret`` is not set.
        allow_anonymous: disable authentication.
        image_roots: folders, buckets (``s3://``, ``gs://``) or folders in buckets that images may be read from.
        label_studio_url: address of the Label Studio server that images may be fetched from.
        label_studio_token: its legacy or personal access token.
        label_studio_token_env: environment variable that holds the token if ``label_studio_token`` is not set.
        local_files_root: Label Studio's document root for local files, if replicas can read it.
        image_key: field of a task's data that contains the image's address.
        forward_webhooks_to: URL that every webhook event of Label Studio is forwarded to.
        max_image_bytes: maximum size of an image file.
        max_image_pixels: maximum width times height of an image.
        max_body_bytes: maximum size of a request's body.
        image_timeout_s: seconds until fetching an image is given up.
        request_timeout_s: seconds until a request is given up.
        loading_timeout_s: seconds a request waits for a replica that is loading its first model.
        poll_s: seconds between two checks for a newly promoted model.
        cache_mib: memory for encoded images in each replica, on its device.
        half_cache: keep encoded images in half precision: half the memory, and keypoints move by hundredths of a pixel.
            Models in the person's frame always do.
        upload_mib: memory for uploaded images, in the ingress and in each replica.
        sessions: number of annotators' sessions that each replica keeps.
        log_requests: write one line per request to the ingress's stderr, which Ray keeps in its log folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: Uri | None = None
    model: Uri | None = None
    device: str = "auto"
    replicas: PositiveInt = 1
    max_replicas: PositiveInt | None = None
    scale_up_after_s: PositiveFloat = 10.0
    scale_down_after_s: PositiveFloat = 600.0
    ingresses: PositiveInt = 1
    num_cpus: float = Field(1.0, ge=0)
    num_gpus: float = Field(0.0, ge=0)
    max_ongoing: PositiveInt = 8
    max_queued: PositiveInt = 64

    user: str = "clickpose"
    secret: SecretStr | None = None
    secret_env: str = "CLICKPOSE_SECRET"
    webhook_secret: SecretStr | None = None
    webhook_secret_env: str = "CLICKPOSE_WEBHOOK_SECRET"
    allow_anonymous: bool = False

    image_roots: tuple[Uri, ...] = ()
    label_studio_url: str | None = None
    label_studio_token: SecretStr | None = None
    label_studio_token_env: str = "LABEL_STUDIO_TOKEN"
    local_files_root: Uri | None = None
    image_key: str = "image"
    forward_webhooks_to: str | None = None

    max_image_bytes: PositiveInt = MAX_BYTES
    max_image_pixels: PositiveInt = MAX_PIXELS
    max_body_bytes: PositiveInt = 32 * 2**20
    image_timeout_s: PositiveFloat = 20.0
    request_timeout_s: PositiveFloat = 60.0
    loading_timeout_s: float = Field(20.0, ge=0)
    poll_s: PositiveFloat = 5.0
    cache_mib: PositiveInt = 2048
    half_cache: bool = False
    upload_mib: PositiveInt = 256
    sessions: PositiveInt = 1000
    log_requests: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.store is None) == (self.model is None):
            raise ValueError("give either a store or a model folder")
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is less than replicas {self.replicas}")
        for url in (self.label_studio_url, self.forward_webhooks_to):
            if url is not None and not SERVER.match(url):
                raise ValueError(f"{url!r} is not a server address: write it as http://HOST:PORT")
        for root in self.image_roots:
            if (scheme := urlsplit(root).scheme) and scheme not in IMAGE_SCHEMES:
                raise ValueError(f"images cannot be read from {scheme}://, only from {', '.join(IMAGE_SCHEMES)}")
        return self

    def with_secrets(self) -> Self:
        """Return these arguments with the secrets filled in from this process's environment.

        Raises:
            InvalidConfig: there is no secret, and anonymous access is not allowed.
        """
        secret = self.secret or _from_environment(self.secret_env)
        if secret is None and not self.allow_anonymous:
            raise InvalidConfig(
                f"the service has no secret: set {self.secret_env}, or allow_anonymous to disable authentication"
            )
        webhook_secret = self.webhook_secret or _from_environment(self.webhook_secret_env)
        token = self.label_studio_token or _from_environment(self.label_studio_token_env)
        secrets = {"secret": secret, "webhook_secret": webhook_secret, "label_studio_token": token}
        return self.model_copy(update=secrets)

    def images_together(self) -> int:
        """Return how many waiting images are encoded in one call: several on a GPU, one on a CPU."""
        return MAX_TOGETHER if self.num_gpus > 0 or self.device == "cuda" else 1

    def max_programs(self) -> int:
        """Return how many requests of programs an ingress accepts: its share of half of what can run and wait."""
        return max(1, (self.max_queued + self.replicas * self.max_ongoing) // (2 * self.ingresses))


def _from_environment(name: str) -> SecretStr | None:
    value = os.environ.get(name)
    return SecretStr(value) if value else None
