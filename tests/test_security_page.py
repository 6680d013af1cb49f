"""What docs/security.md names as proof exists."""

import re
from pathlib import Path

import pytest

from serve.settings import AppArgs

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "security.md").read_text()
WRITTEN = "\n".join(path.read_text() for path in TESTS.rglob("test_*.py"))


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", PAGE))))
def test_every_test_it_names_exists(name: str) -> None:
    assert re.search(rf"^def {name}\(", WRITTEN, re.M)


@pytest.mark.parametrize(
    "name", ["max_body_bytes", "max_image_bytes", "max_image_pixels", "image_timeout_s", "sessions"]
)
def test_every_limit_is_a_setting(name: str) -> None:
    assert f"`{name}`" in PAGE and name in AppArgs.model_fields


def test_its_numbers_are_the_defaults() -> None:
    args = AppArgs(model="m")
    assert (args.max_body_bytes, args.max_image_bytes) == (32 * 2**20, 128 * 2**20)
    assert (args.max_image_pixels, args.image_timeout_s, args.request_timeout_s) == (250_000_000, 20, 60)
    assert (args.max_queued, args.sessions, args.cache_mib) == (64, 1000, 2048)
