"""Images that only Label Studio can deliver.

No other host is ever contacted or even looked up: a name or redirect that leads elsewhere is rejected before any
connection. Label Studio itself may have a private address, since the operator has configured it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from functools import cached_property

import httpx

from clickpose.errors import ImageError
from integrations.label_studio.connection import is_this_machine

MAX_REDIRECTS = 3
ACCESS_TOKEN_S = 120.0  # Label Studio's tokens are valid for five minutes
UNCOMPRESSED = {
    "Accept-Encoding": "identity"
}  # images are compressed already, and a small answer may expand without end


class LabelStudioFiles:
    """Fetches files from one Label Studio with its token, and follows no redirect to another host.

    Args:
        url: address of Label Studio, e.g. ``http://127.0.0.1:8080``.
        token: a legacy token, or a personal access token, which is exchanged for short-lived ones; None if files
            are public.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._access = ("", 0.0)  # short-lived token, time.monotonic() at which it is renewed

    def has(self, name: str) -> bool:
        """Return whether a name is a file of this server: a path below ``/data/``, or the URL of such a path."""
        return self._has(httpx.URL(self.url_of(name)))

    def fetch(self, name: str, *, max_bytes: int, timeout_s: float) -> bytes:
        """Return a file's bytes; of a file that is too long, one byte more than allowed.

        Raises:
            ImageError: the file does not exist, takes too long, or is on another host.
        """
        try:
            return asyncio.run(self._fetch_in_time(name, max_bytes, timeout_s))
        except TimeoutError as error:
            raise ImageError(f"{name} could not be fetched from {self.url} within {timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, KeyError, ValueError) as error:
            raise ImageError(f"{name} could not be fetched from {self.url}: {error or type(error).__name__}") from error

    async def _fetch_in_time(self, name: str, max_bytes: int, timeout_s: float) -> bytes:
        """Fetch within one time limit for everything; the client's own limits restart with every byte that arrives."""
        direct = is_this_machine(self.url)
        client = httpx.AsyncClient(verify=self._tls, timeout=timeout_s, trust_env=not direct)
        async with asyncio.timeout(timeout_s), client:
            return await self._follow(client, name, max_bytes)

    async def _follow(self, client: httpx.AsyncClient, name: str, max_bytes: int) -> bytes:
        url = httpx.URL(self.url_of(name))
        headers = UNCOMPRESSED | await self._authorization(client)
        for _ in range(1 + MAX_REDIRECTS):
            async with client.stream("GET", url, headers=headers) as response:
                if not response.has_redirect_location:
                    return await _read(response, max_bytes)
                url = url.join(response.headers["location"])
            if not self._has(url):
                raise ImageError(f"{name} is not a file of {self.url}, which redirects to {_origin(url)}{url.path}")
        raise ImageError(f"{name} could not be fetched from {self.url}: too many redirects")

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Settings for TLS; slow to make, so made once, and on first use, since they cannot be pickled."""
        return httpx.create_ssl_context()

    def _has(self, url: httpx.URL) -> bool:
        prefix = f"{httpx.URL(self.url).path.rstrip('/')}/data/"
        inside = url.path.startswith(prefix) and ".." not in url.path.split("/")
        return inside and not url.userinfo and _origin(url) == _origin(self.url)

    def url_of(self, name: str) -> str:
        """Return a name as a URL; where Label Studio is at a path, some names begin with it and some do not."""
        if not name.startswith("/"):
            return name
        path = httpx.URL(self.url).path.rstrip("/")
        return self.url + (name.removeprefix(path) if name.startswith(f"{path}/data/") else name)

    async def _authorization(self, client: httpx.AsyncClient) -> dict[str, str]:
        if not self._token:
            return {}
        if self._token.count(".") != 2:  # not a JSON web token
            return {"Authorization": f"Token {self._token}"}
        if time.monotonic() > self._access[1]:
            self._access = (await self._exchange(client), time.monotonic() + ACCESS_TOKEN_S)
        return {"Authorization": f"Bearer {self._access[0]}"}

    async def _exchange(self, client: httpx.AsyncClient) -> str:
        """Return a short-lived token for the personal access token."""
        answer = await client.post(f"{self.url}/api/token/refresh/", json={"refresh": self._token})
        return str(answer.raise_for_status().json()["access"])


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    """Return the bytes of an answer, at most one more than allowed."""
    response.raise_for_status()
    if (encoding := response.headers.get("content-encoding", "identity")) != "identity":
        raise ValueError(f"the answer is compressed with {encoding}, which was not requested")
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > max_bytes:
            break
    return bytes(data[: max_bytes + 1])


def _origin(url: httpx.URL | str) -> str:
    """Return scheme, host and port as the client parses them, so that what is compared is what is contacted."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.host}:{parts.port or {'http': 80, 'https': 443}.get(parts.scheme)}"
