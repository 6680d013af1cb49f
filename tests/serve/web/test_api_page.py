"""The page that describes the REST interface, in a browser."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image
from playwright.sync_api import sync_playwright

from serve.app import AppArgs
from serve.web.ingress import build_api
from serve.web.remote import RemotePoseService
from tests.browser import find_chromium


@pytest.fixture(scope="module")
def args(tmp_path_factory: pytest.TempPathFactory, write_model: Any, point_to: Any) -> AppArgs:
    root = tmp_path_factory.mktemp("store")
    write_model(root / "models" / "v1")
    point_to(root, "v1")
    (root / "photos").mkdir()
    Image.new("RGB", (160, 120), "teal").save(root / "photos" / "one.jpg")
    return AppArgs(store=str(root), image_roots=(str(root),), secret="open sesame")


@pytest.fixture
def url(service: RemotePoseService, args: AppArgs) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(build_api(service, args), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.cluster
def test_a_request_can_be_tried_out(url: str) -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        page = browser.new_page(http_credentials={"username": "clickpose", "password": "open sesame"})
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(f"{url}/docs")
        form = page.locator("details", has=page.locator("input[value='/v1/detect']"))
        form.locator("summary").click()
        form.get_by_role("button", name="Send").click()
        answer = form.locator("pre")
        answer.filter(has_text="200").wait_for(timeout=10_000)
        assert '"model_version":"v1"' in answer.inner_text() and not problems
        browser.close()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_curl_line_works_when_it_is_copied(url: str, args: AppArgs) -> None:
    headers = {"Authorization": "Bearer open sesame"}
    (folder,) = args.image_roots
    shutil.copy(Path(folder, "photos", "one.jpg"), Path(folder, "photo.jpg"))
    page = httpx.get(f"{url}/docs", headers=headers).text
    lines = [html.unescape(line) for line in re.findall("<pre>(curl .*?)</pre>", page, re.DOTALL)]
    assert len(lines) >= 15
    for line in lines:
        key = httpx.post(f"{url}/v1/open", json={"image": "photos/one.jpg"}, headers=headers).json()["key"]
        variables = {"URL": url, "KEY": key, "PERSON": "0", "CLICKPOSE_SECRET": "open sesame"}
        command = f"{line} --silent --fail-with-body"
        done = subprocess.run(["sh", "-c", command], cwd=folder, env=os.environ | variables, capture_output=True)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
