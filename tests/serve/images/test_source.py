"""Images are read only from configured places."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clickpose.errors import ImageError
from serve.images.label_studio import LabelStudioFiles
from serve.images.source import ImageLimits, ImageSource

TOKEN = "0123456789abcdef"


class LabelStudio(BaseHTTPRequestHandler):
    """The part of Label Studio that delivers images, with every kind of failure."""

    image: bytes
    requests: list[tuple[str, str]]
    elsewhere: str

    def do_GET(self) -> None:
        self.requests.append((self.path, self.headers.get("Authorization", "")))
        if self.headers.get("Authorization") not in (f"Token {TOKEN}", "Bearer access"):
            return self.answer(401)
        match self.path:
            case "/data/upload/1/one.png" | "/data/local-files/?d=photos/one.png":
                self.answer(200, self.image)
            case "/data/moved.png":
                self.answer(302, location="/data/upload/1/one.png")
            case "/data/out.png":
                self.answer(302, location=f"{self.elsewhere}/data/upload/1/one.png")
            case "/data/circle.png":
                self.answer(302, location="/data/circle.png")
            case "/data/broken.png":
                self.answer(200, b"not an image")
            case "/data/login.png":
                self.answer(302, location="/user/login/?next=/data/upload/1/one.png")
            case "/data/endless.png":
                self.trickle(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100)
            case "/data/endless-headers.png":
                self.trickle(b"HTTP/1.1 200 OK\r\nX: ", b"x")
            case "/data/unfolds.png":
                self.answer(200, gzip.compress(bytes(20 * 2**20)), encoding="gzip")
            case _:
                self.answer(404)

    def do_POST(self) -> None:
        self.requests.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.answer(200, b'{"access": "access"}')

    def answer(self, status: int, body: bytes = b"", location: str = "", encoding: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (("Location", location), ("Content-Encoding", encoding)):
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def trickle(self, start: bytes, drop: bytes) -> None:
        self.wfile.write(start)
        with suppress(OSError):  # the client has disconnected
            for _ in range(100):
                self.wfile.write(drop)
                time.sleep(0.05)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def running(image_file: Path, elsewhere: str = "") -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Run a Label Studio; yield its URL, and the requests it gets."""
    handler = type(
        "Handler", (LabelStudio,), {"image": image_file.read_bytes(), "requests": [], "elsewhere": elsewhere}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.requests
    server.shutdown()
    server.server_close()


@pytest.fixture
def other_server(image_file: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The URL of a server that is not the configured one and would answer, and the requests it got."""
    with running(image_file) as server:
        yield server


@pytest.fixture
def label_studio(image_file: Path, other_server: tuple[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The URL of the configured Label Studio, and the requests it got."""
    with running(image_file, elsewhere=other_server[0]) as server:
        yield server


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The host names that this process looks up."""
    names: set[str] = set()
    look_up = socket.getaddrinfo

    def record(host: Any, *arguments: Any, **options: Any) -> Any:
        names.add(host.decode() if isinstance(host, bytes) else host)
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", record)
    return names


def from_label_studio(url: str, token: str | None = TOKEN, **limits: Any) -> ImageSource:
    return ImageSource(label_studio=LabelStudioFiles(url, token), limits=ImageLimits(**limits))


@pytest.mark.parametrize("name", ["one.png", "photos/one.png", "{folder}/one.png"])
def test_an_image_below_a_configured_folder_is_read(image_file: Path, name: str) -> None:
    source = ImageSource([image_file.parent, image_file.parent.parent])
    assert source.read(name.format(folder=image_file.parent)).size == (160, 120)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "sub/../../secret.png",
        "{tmp}/secret.png",
        "link.png",
        "links/secret.png",
        "",
        "a\x00b",
        ".",
        "/etc/hostname",
        "file:///etc/hostname",
        "ftp://h/one.png",
        "http://[",
        "http://127.0.0.1:1/data/one.png",
        "missing.png",
        "/data/upload/1/one.png",
        "/data/local-files/?d=photos/one.png",
        "x" * 5000,
    ],
)
def test_images_in_other_places_are_rejected(image_file: Path, name: str) -> None:
    secret = image_file.parent.parent / "secret.png"
    Image.new("RGB", (8, 8)).save(secret)
    (image_file.parent / "link.png").symlink_to(secret)
    (image_file.parent / "links").symlink_to(secret.parent)
    with pytest.raises(ImageError):
        ImageSource([image_file.parent]).read(name.format(tmp=secret.parent))


@pytest.mark.parametrize("name", ["frame:01.png", "clip-12:30:05.png", "http:x.png", "a?b#c.png", "100%.png"])
def test_a_name_with_odd_characters_is_a_file(image_file: Path, name: str) -> None:
    image_file.rename(image_file.parent / name)
    assert ImageSource([image_file.parent]).read(name).size == (160, 120)


def test_a_link_that_leads_out_is_named_as_such(image_file: Path, tmp_path: Path) -> None:
    photos = tmp_path / "links only"
    photos.mkdir()
    (photos / "a.png").symlink_to(image_file)
    with pytest.raises(ImageError, match=r"a\.png is not in any place .*links only; a link leads out"):
        ImageSource([photos]).read("a.png")
    assert ImageSource([photos, image_file.parent]).read("a.png").size == (160, 120)


@pytest.mark.parametrize("name", ["/labels/data/upload/3/x.png", "/data/upload/3/x.png", "{url}/data/upload/3/x.png"])
def test_a_label_studio_at_a_path_is_asked_below_it(name: str) -> None:
    files = LabelStudioFiles("http://studio:80/labels/")
    assert files.has(name.format(url="http://studio/labels"))
    assert files.url_of(name.format(url="http://studio/labels")).endswith("/labels/data/upload/3/x.png")
    assert "labels/labels" not in files.url_of(name)
    assert not files.has("/elsewhere/x.png")


def test_a_link_that_stays_inside_is_followed(image_file: Path) -> None:
    (image_file.parent / "link.png").symlink_to(image_file)
    assert ImageSource([image_file.parent]).read("link.png").size == (160, 120)


def test_an_image_beyond_a_limit_is_rejected(image_file: Path) -> None:
    for limits in (ImageLimits(max_bytes=50), ImageLimits(max_pixels=100)):
        with pytest.raises(ImageError, match="more than"):
            ImageSource([image_file.parent], limits=limits).read("one.png")


def test_the_error_about_a_broken_image_names_it(image_file: Path) -> None:
    image_file.write_bytes(image_file.read_bytes()[:40])
    with pytest.raises(ImageError, match=r"one\.png"):
        ImageSource([image_file.parent]).read("one.png")


def test_local_files_are_read_from_the_document_root(image_file: Path) -> None:
    source = ImageSource(local_files_root=image_file.parent.parent)
    assert source.read("/data/local-files/?d=photos/one.png").size == (160, 120)
    assert source.read("/data/local-files/?d=photos%2Fone.png").size == (160, 120)
    for inside in ("../one.png", "/etc/hostname", "photos", "", "%2e%2e/secret.png"):
        with pytest.raises(ImageError):
            source.read(f"/data/local-files/?d={inside}")


@pytest.mark.parametrize(
    "name",
    ["/data/upload/1/one.png", "{url}/data/upload/1/one.png", "/data/moved.png", "/data/local-files/?d=photos/one.png"],
)
def test_requests_to_label_studio_carry_its_token(label_studio: tuple[str, list[Any]], name: str) -> None:
    url, requests = label_studio
    assert from_label_studio(url).read(name.format(url=url)).size == (160, 120)
    assert {authorization for _, authorization in requests} == {f"Token {TOKEN}"}


def test_label_studio_on_this_machine_is_asked_directly_whatever_proxy_is_configured(
    label_studio: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert from_label_studio(label_studio[0]).read("/data/upload/1/one.png").size == (160, 120)


def test_a_personal_access_token_is_exchanged_once(label_studio: tuple[str, list[Any]]) -> None:
    url, requests = label_studio
    source = from_label_studio(url, token="head.body.tail")
    for _ in range(2):
        source.read("/data/upload/1/one.png")
    assert [path for path, _ in requests].count("/api/token/refresh/") == 1
    assert requests[-1] == ("/data/upload/1/one.png", "Bearer access")


@pytest.mark.parametrize(
    "name",
    [
        "/data/missing.png",
        "/data/broken.png",
        "/data/out.png",
        "/data/login.png",
        "/data/unfolds.png",
        "/data/circle.png",
        "/api/users",
        "/data/../api/users",
        "{other}/data/upload/1/one.png",
        "http://127.0.0.1:1/data/one.png",
        "/data/%2e%2e/api/users",
        "/data/upload/%2e%2e",
        "{url}@elsewhere.example/data/1.png",
        "http://somebody:else@{address}/data/upload/1/one.png",
        "//elsewhere.example/data/upload/1/one.png",
        "{url}/api/users",
        "http://metadata.internal/data/latest",
        "http://169.254.169.254/data/latest",
        "http://[::1]/data/one.png",
        "http://2130706433/data/one.png",
    ],
)
def test_only_images_are_fetched_and_only_from_label_studio(
    label_studio: tuple[str, list[Any]], other_server: tuple[str, list[Any]], name: str, looked_up: set[str]
) -> None:
    url, requests = label_studio
    with pytest.raises(ImageError):
        from_label_studio(url).read(name.format(url=url, address=url[7:], other=other_server[0]))
    assert looked_up <= {"127.0.0.1"}
    assert all(path.startswith("/data/") and ".." not in path for path, _ in requests)
    assert other_server[1] == []


def test_a_wrong_token_is_reported(label_studio: tuple[str, list[Any]]) -> None:
    with pytest.raises(ImageError, match="401"):
        from_label_studio(label_studio[0], token="wrong").read("/data/upload/1/one.png")


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("/data/endless.png", {"max_bytes": 1000}),
        ("/data/endless.png", {"timeout_s": 0.4}),
        ("/data/endless-headers.png", {"timeout_s": 0.4}),
    ],
)
def test_an_endless_answer_is_aborted(label_studio: tuple[str, list[Any]], name: str, limits: dict[str, float]) -> None:
    started = time.monotonic()
    with pytest.raises(ImageError, match=r"more than|could not be fetched from \S+ within"):
        from_label_studio(label_studio[0], **limits).read(name)
    assert time.monotonic() - started < 3
