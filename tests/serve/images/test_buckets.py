"""Images in buckets of a real S3 server in this process."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Iterator
from urllib.parse import quote

import boto3
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from clickpose.errors import ImageError
from serve.app import image_source
from serve.images.buckets import BucketFiles
from serve.images.source import ImageLimits, ImageSource
from serve.settings import AppArgs


def png() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (160, 120), "teal").save(data, "PNG")
    return data.getvalue()


@pytest.fixture(scope="module")
def settings() -> Iterator[str]:
    """URI parameters of the server, which has images in two buckets."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        region_name="us-east-1",
    )
    for bucket in ("photos", "secrets"):
        client.create_bucket(Bucket=bucket)
        for key in ("people/one.png", "people/a b%.png", "private/one.png"):
            client.put_object(Bucket=bucket, Key=key, Body=png())
    client.put_object(Bucket="photos", Key="people/broken.png", Body=b"not an image")
    yield f"scheme=http&region=us-east-1&endpoint_override={quote(f'{host}:{port}', safe='')}"
    server.stop()


@pytest.fixture
def source(settings: str) -> ImageSource:
    return image_source(AppArgs(model="m", image_roots=(f"s3://key:hush@photos/people?{settings}",)))


@pytest.mark.parametrize("name", ["one.png", "a%20b%25.png"])
def test_an_image_below_a_configured_bucket_is_read(source: ImageSource, name: str) -> None:
    assert source.read(f"s3://photos/people/{name}").size == (160, 120)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("s3://photos/people/missing.png", "does not exist"),
        ("s3://photos/people/broken.png", "cannot be decoded"),
        ("s3://photos/people/", "could not be read|does not exist"),
        ("s3://photos/private/one.png", "not in any place"),
        ("s3://photos/people/../private/one.png", "not in any place"),
        ("s3://photos/people/%2e%2e/private/one.png", "not in any place"),
        ("s3://photos/people-and-others/one.png", "not in any place"),
        ("s3://secrets/people/one.png", "not in any place"),
        ("s3://user:key@photos/people/one.png", "not in any place"),
        ("gs://photos/people/one.png", "not in any place"),
        ("s3://photos/people/one.png?endpoint_override=elsewhere.example", "does not exist"),
    ],
)
def test_images_in_other_places_are_rejected(source: ImageSource, name: str, why: str) -> None:
    with pytest.raises(ImageError, match=why) as refusal:
        source.read(name)
    assert "hush" not in str(refusal.value)


def test_an_object_beyond_a_limit_is_rejected(source: ImageSource) -> None:
    source.limits = ImageLimits(max_bytes=50)
    with pytest.raises(ImageError, match="51 bytes, more than"):
        source.read("s3://photos/people/one.png")


def test_reading_from_a_slow_bucket_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = quote(f"127.0.0.1:{silent.getsockname()[1]}", safe="")
        bucket = BucketFiles(f"s3://a:b@photos?scheme=http&region=us-east-1&endpoint_override={address}")
        started = time.monotonic()
        with pytest.raises(ImageError, match="could not be read within"):
            bucket.fetch("s3://photos/one.png", max_bytes=100, timeout_s=0.5)
        assert time.monotonic() - started < 5


def test_a_folder_may_be_written_as_a_uri(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    for place in ("photos/one.png", "secret.png"):
        (tmp_path / place).write_bytes(png())
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    source = image_source(AppArgs(model="m", image_roots=(f"file://{tmp_path}/photos",)))
    for name in ("one.png", f"file://{tmp_path}/photos/one.png", f"{tmp_path}/photos/one.png"):
        assert source.read(name).size == (160, 120)
    for name in ("link.png", "photos/link.png", "secret.png", "photos/../secret.png", "photos/%2e%2e/secret.png"):
        with pytest.raises(ImageError, match="not in any place"):
            source.read(f"file://{tmp_path}/{name}" if "/" in name or name == "secret.png" else name)
