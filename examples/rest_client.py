"""Find all persons in a photo, place one keypoint, and print how the others follow: the REST interface in 30 lines.

CLICKPOSE_SECRET=... python examples/rest_client.py http://localhost:9090 photo.jpg left_wrist 312 88

A file on this machine is uploaded; any other name must be that of an image which the service can read itself.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import httpx


def ask(client: httpx.Client, method: str, path: str, **content: Any) -> dict[str, Any]:
    """Send a request; retry when a busy service says so, and exit with the reason if it is rejected."""
    try:
        while (answer := client.request(method, path, **content)).status_code in (429, 503):
            time.sleep(int(answer.headers.get("Retry-After", 1)))
    except httpx.TransportError as error:
        sys.exit(f"{client.base_url} does not answer: {error}; is clickpose serve running there?")
    if answer.is_error:
        sys.exit(f"{answer.status_code}: {answer.json()['detail']}")
    return dict(answer.json())


if len(sys.argv) != 6:
    sys.exit(__doc__)
url, image, keypoint, x, y = sys.argv[1:]
with httpx.Client(base_url=url, auth=("clickpose", os.environ["CLICKPOSE_SECRET"]), timeout=100) as client:
    if Path(image).is_file():
        image = ask(client, "POST", "/v1/uploads", content=Path(image).read_bytes())["image"]
    names = ask(client, "GET", "/v1/skeleton")["keypoints"]
    poses = ask(client, "POST", "/v1/detect", json={"image": image})["poses"]
    if not poses:
        sys.exit("no person was found in this photo")
    click = {"person": 0, "keypoint": keypoint, "xy_px": [float(x), float(y)]}
    refined = ask(client, "POST", "/v1/refine", json={"image": image, "poses": poses, "clicks": [click]})["poses"]
for name, before, after, held in zip(
    names, poses[0]["keypoints_px"], refined[0]["keypoints_px"], refined[0]["held"], strict=True
):
    print(f"{name:16} {before[0]:7.1f} {before[1]:7.1f}  ->  {after[0]:7.1f} {after[1]:7.1f} {'held' if held else ''}")
