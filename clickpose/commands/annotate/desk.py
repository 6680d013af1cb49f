"""Everything that runs for an annotator, started in this order and stopped together.

<data>/label-studio/   Label Studio's database and log       <data>/store/       models, pre-labels, snapshots, reports
<data>/annotate.log    messages of libraries
<data>/desk.json       ports and the service's secret, because the project knows them
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from clickpose.commands.annotate.first_model import serve_first_model
from clickpose.commands.collecting import TOKEN
from clickpose.commands.proxying import running_proxy
from clickpose.commands.serving import check_port, running_service
from clickpose.errors import InvalidConfig
from clickpose.skeleton import Skeleton
from integrations.label_studio.client import LabelStudio
from integrations.label_studio.projects import LocalImages, Service, set_up_project
from integrations.label_studio.server import LabelStudioServer, free_port
from pipeline.lease import lease
from pipeline.listing import find_images
from pipeline.store import Store
from pipeline.watch import wake_up_calls
from serve.settings import AppArgs

HOST = "127.0.0.1"
SECRET = "CLICKPOSE_SECRET"
HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
TITLE = "Click-Pose"
POLL_S = 2.0  # how soon a promoted model is served
RELEASE_S = 60.0  # how long the service of a killed run may keep its port


@dataclass(frozen=True)
class Desk:
    """What is running.

    Attributes:
        address: of the page where the annotator works.
        username: her account.
        password: of that account.
        label_studio: client of the server.
        label_studio_url: of the server itself.
        service_url: of the service that answers clicks.
        secret: of the service.
        project: its id.
        skeleton: that is annotated.
        photos: the folder.
        store: with the model in service.
        annotated: set whenever an annotation is submitted.
    """

    address: str
    username: str
    password: str
    label_studio: LabelStudio
    label_studio_url: str
    service_url: str
    secret: str
    project: int
    skeleton: Skeleton
    photos: Path
    store: Store
    annotated: threading.Event


@dataclass(frozen=True)
class Kept:
    """Settings that the project in a data folder refers to and that must not change: ports, and the secret."""

    label_studio_port: int
    service_port: int
    webhook_port: int
    secret: str


@contextmanager
def open_desk(photos: Path, data: Path, *, model: Path, port: int, skeleton: Skeleton | None = None) -> Iterator[Desk]:
    """Start everything; stop it when the block ends.

    Args:
        photos: folder of images.
        data: folder for all data; an existing one resumes.
        model: folder of the model to start with.
        port: of the page that the annotator opens.
        skeleton: keypoints to annotate; None takes the model's own.

    Raises:
        ClickPoseError: something cannot be started; the message says what, and where its log is.
    """
    check_port(HOST, port)
    photos = photos.absolute()
    sample = find_images(photos)[0]
    with ExitStack() as stack:
        stack.enter_context(lease(Store(data.absolute()), "annotating"))
        store, kept = Store(data.absolute() / "store"), _kept(data)
        server = LabelStudioServer(data / "label-studio", files=photos.parent, port=kept.label_studio_port)
        stack.callback(server.stop)
        server.launch()  # it starts while the rest does
        skeleton = serve_first_model(store, model, skeleton)
        os.environ |= {TOKEN: server.token, SECRET: kept.secret}  # where every command looks for them
        os.environ.setdefault(HAPROXY, "0")  # one annotator does not need it, and it would survive a crash
        annotated = stack.enter_context(wake_up_calls(f"{HOST}:{kept.webhook_port}"))
        args = _service_args(store, server, kept)
        _wait_for_release(kept.service_port)
        service_url = stack.enter_context(running_service(args, host=HOST, port=kept.service_port))
        server.wait_until_up()
        client = stack.enter_context(LabelStudio(server.url, server.token))
        images, service = LocalImages(str(photos), sample), Service(service_url, kept.secret, kept.secret)
        project = set_up_project(client, TITLE, skeleton, images=images, service=service)
        page = stack.enter_context(running_proxy(server.url, [skeleton], host=HOST, port=port))
        yield Desk(
            address=f"{page}/projects/{project}/data",
            username=server.username,
            password=server.password,
            label_studio=client,
            label_studio_url=server.url,
            service_url=service_url,
            secret=kept.secret,
            project=project,
            skeleton=skeleton,
            photos=photos,
            store=store,
            annotated=annotated,
        )


def _service_args(store: Store, server: LabelStudioServer, kept: Kept) -> AppArgs:
    return AppArgs.model_validate(
        {
            "store": store.uri,
            "label_studio_url": server.url,
            "local_files_root": str(server.files),
            "forward_webhooks_to": f"http://{HOST}:{kept.webhook_port}",
            "poll_s": POLL_S,
        }
    )


def _wait_for_release(port: int) -> None:
    """Wait while the service of a run that was just killed still listens on a port: it ends when Ray notices."""
    deadline = time.monotonic() + RELEASE_S
    while time.monotonic() < deadline:
        with suppress(InvalidConfig):
            return check_port(HOST, port)
        time.sleep(0.5)


def _kept(data: Path) -> Kept:
    """Return the settings of a data folder, chosen when it is created."""
    path = data / "desk.json"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        kept = Kept(free_port(), free_port(), free_port(), secrets.token_urlsafe(24))
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(kept), indent=2))
    return Kept(**json.loads(path.read_text()))
