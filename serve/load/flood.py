"""More requests than the service can answer, sent at a steady rate through the REST interface.

The annotators' client gets slower with the number of open requests; this one does not, so that its own queue is not
measured.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import aiohttp
import httpx

from serve.load.records import Log, Request

PATIENCE_S = 60


async def flood(
    client: httpx.AsyncClient, images: Sequence[str], log: Log, *, per_second: float, seconds: float
) -> int:
    """Send refinements at a steady rate; return how many were rejected without a Retry-After header."""
    bodies = [await _body(client, name) for name in images]
    headers = {"Content-Type": "application/json", "Authorization": _authorization(client)}
    url = str(client.base_url.join("/v1/refine"))
    connections, patience = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(connector=connections, timeout=patience, headers=headers) as session:

        async def ask(number: int) -> int:
            await asyncio.sleep(number / per_second)
            with log.request("flood") as request:
                return await _send(session, url, bodies[number % len(bodies)], request)

        return sum(await asyncio.gather(*(ask(number) for number in range(int(per_second * seconds)))))


def _authorization(client: httpx.AsyncClient) -> str:
    """Return the credentials of the annotators' client."""
    request = next(client.auth.sync_auth_flow(client.build_request("GET", "/")))  # type: ignore[union-attr]
    return request.headers["Authorization"]


async def _body(client: httpx.AsyncClient, name: str) -> bytes:
    """Return a click on the first person of an image, encoded in advance, as the flood shares the machine."""
    found = (await client.post("/v1/detect", json={"image": name})).raise_for_status().json()
    if not found["poses"]:
        return json.dumps({"image": name, "poses": [], "clicks": []}).encode()
    xy_px = found["poses"][0]["keypoints_px"][0]
    clicks = [{"person": 0, "keypoint": 0, "xy_px": xy_px}]
    return json.dumps({"image": name, "poses": found["poses"], "clicks": clicks}).encode()


async def _send(session: aiohttp.ClientSession, url: str, body: bytes, request: Request) -> int:
    """Send one; return 1 if it was rejected without Retry-After."""
    try:
        async with session.post(url, data=body) as answer:
            await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        request.outcome = type(error).__name__
        return 0
    request.outcome = "ok" if answer.status == 200 else str(answer.status)
    return int(answer.status != 200 and "Retry-After" not in answer.headers)
