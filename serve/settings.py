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
    """Make a local path independent of the working directory; replicas have another one."""
    return uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().absolute())


SERVER = re.compile(r"https?://[\w.-]+(:\d+)?(/|$)|https?://\[[0-9a-fA-F:.]+\](:\d+)?(/|$)")
IMAGE_SCHEMES = ("file", "s3", "gs", "gcs", "abfs")

Uri = Annotated[str, AfterValidator(_absolute)]


class AppArgs(BaseModel):
    """Arguments of the Serve application, from Python or from ``args:`` of a Serve configuration file.

    Attributes:
        store: root of the store whose pointer ``models/current`` names the model; or else
        model: a model folder, served for ever.
        device: ``auto``, ``cpu`` or ``cuda``.
        replicas: model replicas; requests about one picture always go to the same one.
        num_cpus: logical CPUs of each replica.
        num_gpus: GPUs of each replica.
        max_ongoing: requests a replica works on or holds at once.
        max_queued: requests that wait for replicas; more are turned away, those of programs earlier.
        user: who may call, with the secret as password; Label Studio can send nothing else.
        secret: what callers must show, as Basic password or Bearer token.
        secret_env: the environment variable that holds the secret, if it is not given here.
        webhook_secret: what Label Studio's webhooks show in ``X-Clickpose-Secret``; the same secret by default.
        webhook_secret_env: the environment variable that holds it, if it is not given here.
        open_to_anybody: serve without any secret.
        image_roots: folders and buckets (``s3://``, ``gs://``), or folders in them, whose pictures may be read.
        label_studio_url: the Label Studio whose pictures may be fetched.
        label_studio_token: its token, legacy or personal.
        label_studio_token_env: the environment variable that holds the token, if it is not given here.
        local_files_root: Label Studio's document root for local files, if replicas can read it.
        image_key: the field of a task's data that names the picture.
        forward_webhooks_to: a URL that gets every webhook event of Label Studio.
        max_image_bytes: encoded size beyond which a picture is refused.
        max_image_pixels: width times height beyond which a picture is refused.
        max_body_bytes: size beyond which a request is refused.
        image_timeout_s: seconds a picture may take to arrive.
        request_timeout_s: seconds a request may take in all.
        loading_patience_s: seconds a request waits for a replica that loads its first model.
        poll_s: seconds between two looks at the pointer.
        cache_mib: memory for encoded pictures in each replica, on its device.
        upload_mib: memory for pictures that programs send, in the ingress and in each replica.
        sessions: annotators' screens each replica remembers.
        log_requests: write a line for each request to the ingress's stderr, which Ray keeps in its log folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: Uri | None = None
    model: Uri | None = None
    device: str = "auto"
    replicas: PositiveInt = 1
    num_cpus: float = Field(1.0, ge=0)
    num_gpus: float = Field(0.0, ge=0)
    max_ongoing: PositiveInt = 8
    max_queued: PositiveInt = 64

    user: str = "clickpose"
    secret: SecretStr | None = None
    secret_env: str = "CLICKPOSE_SECRET"
    webhook_secret: SecretStr | None = None
    webhook_secret_env: str = "CLICKPOSE_WEBHOOK_SECRET"
    open_to_anybody: bool = False

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
    loading_patience_s: float = Field(20.0, ge=0)
    poll_s: PositiveFloat = 5.0
    cache_mib: PositiveInt = 2048
    upload_mib: PositiveInt = 256
    sessions: PositiveInt = 1000
    log_requests: bool = True

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.store is None) == (self.model is None):
            raise ValueError("give either a store or a model folder")
        for url in (self.label_studio_url, self.forward_webhooks_to):
            if url is not None and not SERVER.match(url):
                raise ValueError(f"{url!r} is not the address of a server: give it as http://HOST:PORT")
        for root in self.image_roots:
            if (scheme := urlsplit(root).scheme) and scheme not in IMAGE_SCHEMES:
                raise ValueError(f"pictures cannot be read from {scheme}://, only from {', '.join(IMAGE_SCHEMES)}")
        return self

    def with_secrets(self) -> Self:
        """Return these arguments with the secrets filled in from this process's environment.

        Raises:
            InvalidConfig: there is no secret, and the service is not meant to be open.
        """
        secret = self.secret or _from_environment(self.secret_env)
        if secret is None and not self.open_to_anybody:
            raise InvalidConfig(
                f"the service has no secret: set {self.secret_env}, or open_to_anybody if that is meant"
            )
        webhook_secret = self.webhook_secret or _from_environment(self.webhook_secret_env)
        token = self.label_studio_token or _from_environment(self.label_studio_token_env)
        secrets = {"secret": secret, "webhook_secret": webhook_secret, "label_studio_token": token}
        return self.model_copy(update=secrets)

    def max_programs(self) -> int:
        """Return how many requests of programs may be in progress: half of what replicas hold and the queue takes."""
        return max(1, (self.max_queued + self.replicas * self.max_ongoing) // 2)


def _from_environment(name: str) -> SecretStr | None:
    value = os.environ.get(name)
    return SecretStr(value) if value else None
