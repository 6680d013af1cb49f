"""Find everybody in a picture, place one keypoint, and see how the others follow: the REST interface in 30 lines.

CLICKPOSE_SECRET=... python examples/rest_client.py http://localhost:9090 photos/7.jpg left_wrist 312 88
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import httpx


def ask(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    """Post a body; a service that is busy says when to come back."""
    while (answer := client.post(path, json=body)).status_code in (429, 503):
        time.sleep(int(answer.headers["Retry-After"]))
    return dict(answer.raise_for_status().json())


url, image, keypoint, x, y = sys.argv[1:]
with httpx.Client(base_url=url, auth=("clickpose", os.environ["CLICKPOSE_SECRET"]), timeout=100) as client:
    names = client.get("/v1/skeleton").raise_for_status().json()["keypoints"]
    poses = ask(client, "/v1/detect", image=image)["poses"]
    click = {"person": 0, "keypoint": keypoint, "xy_px": [float(x), float(y)]}
    refined = ask(client, "/v1/refine", image=image, poses=poses, clicks=[click])["poses"]
for name, before, after, held in zip(
    names, poses[0]["keypoints_px"], refined[0]["keypoints_px"], refined[0]["held"], strict=True
):
    print(f"{name:16} {before[0]:7.1f} {before[1]:7.1f}  ->  {after[0]:7.1f} {after[1]:7.1f} {'held' if held else ''}")
