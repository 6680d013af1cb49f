"""How simulated annotators reach the service: httpx over aiohttp, which takes half of the processor time or less.

The load test runs on the machine that it measures, so what its client uses is missing for the service.
"""

from __future__ import annotations

import aiohttp
import httpx


class LightTransport(httpx.AsyncBaseTransport):
    """Sends requests with aiohttp, over any number of connections.

    Args:
        timeout_s: seconds until a request is given up.
    """

    def __init__(self, timeout_s: float) -> None:
        self.timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its whole answer; httpx calls this."""
        if self._session is None:  # it belongs to the running event loop
            connections = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(connector=connections, timeout=self.timeout, auto_decompress=False)
        url, headers = str(request.url), list(request.headers.items())
        try:
            async with self._session.request(
                request.method, url, data=request.content, headers=headers, allow_redirects=False
            ) as answer:
                return httpx.Response(answer.status, headers=answer.raw_headers, content=await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise httpx.NetworkError(repr(error), request=request) from error

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
