"""More requests than the service can answer, sent whether it answers or not, through the REST interface."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from benchmarks.serve_load.records import Log, Request


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


async def _body(client: httpx.AsyncClient, name: str) -> dict[str, Any]:
    """Return a click on the first person of a picture."""
    found = (await client.post("/v1/detect", json={"image": name})).raise_for_status().json()
    if not found["poses"]:
        return {"image": name, "poses": [], "clicks": []}
    xy_px = found["poses"][0]["keypoints_px"][0]
    return {"image": name, "poses": found["poses"], "clicks": [{"person": 0, "keypoint": 0, "xy_px": xy_px}]}


async def _send(client: httpx.AsyncClient, body: dict[str, Any], request: Request) -> int:
    """Send one; return 1 if it was turned away without Retry-After."""
    try:
        answer = await client.post("/v1/refine", json=body)
    except httpx.HTTPError as error:
        request.outcome = type(error).__name__
        return 0
    request.outcome = "ok" if answer.status_code == 200 else str(answer.status_code)
    return int(answer.status_code != 200 and "retry-after" not in answer.headers)
