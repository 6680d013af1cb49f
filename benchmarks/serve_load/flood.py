"""More requests than the service can answer, sent whether it answers or not, through the REST interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import httpx

from benchmarks.serve_load.records import Log, Request

JSON = {"Content-Type": "application/json"}


async def flood(
    client: httpx.AsyncClient, pictures: Sequence[str], log: Log, *, a_second: float, seconds: float
) -> int:
    """Send refinements at a steady rate; return how many were turned away without being told when to come back."""
    bodies = [await _body(client, name) for name in pictures]
    impolite = 0

    async def ask(number: int) -> None:
        nonlocal impolite
        await asyncio.sleep(number / a_second)
        with log.request("flood") as request:
            impolite += await _send(client, bodies[number % len(bodies)], request)

    await asyncio.gather(*(ask(number) for number in range(int(a_second * seconds))))
    return impolite


async def _body(client: httpx.AsyncClient, name: str) -> bytes:
    """Return a click on the first person of a picture, ready to be sent: the flood shares the machine."""
    found = (await client.post("/v1/detect", json={"image": name})).raise_for_status().json()
    if not found["poses"]:
        return json.dumps({"image": name, "poses": [], "clicks": []}).encode()
    xy_px = found["poses"][0]["keypoints_px"][0]
    clicks = [{"person": 0, "keypoint": 0, "xy_px": xy_px}]
    return json.dumps({"image": name, "poses": found["poses"], "clicks": clicks}).encode()


async def _send(client: httpx.AsyncClient, body: bytes, request: Request) -> int:
    """Send one; return 1 if it was turned away without Retry-After."""
    try:
        answer = await client.post("/v1/refine", content=body, headers=JSON)
    except httpx.HTTPError as error:
        request.outcome = type(error).__name__
        return 0
    request.outcome = "ok" if answer.status_code == 200 else str(answer.status_code)
    return int(answer.status_code != 200 and "retry-after" not in answer.headers)
