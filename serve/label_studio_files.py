"""Pictures that only Label Studio can hand out."""

from __future__ import annotations

import time
from threading import Lock

import httpx

from clickpose.errors import ImageError

MAX_REDIRECTS = 3
ACCESS_TOKEN_S = 120.0  # Label Studio's live for five minutes


class LabelStudioFiles:
    """Fetches files from one Label Studio with its token, and never follows it to another host.

    Args:
        url: where Label Studio answers, e.g. ``http://127.0.0.1:8080``.
        token: a legacy token, or a personal access token, which is exchanged for short-lived ones; none if files
            are open to anybody.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._client = httpx.Client(follow_redirects=False)
        self._access = ("", 0.0)  # short-lived token, time.monotonic() at which it is renewed
        self._lock = Lock()

    def has(self, name: str) -> bool:
        """Tell whether a name means a file of this server: a path below ``/data/``, or a URL of it with such a path."""
        url = httpx.URL(self._url_of(name))
        prefix = f"{httpx.URL(self.url).path.rstrip('/')}/data/"
        return _origin(url) == _origin(self.url) and url.path.startswith(prefix) and "/../" not in url.path

    def fetch(self, name: str, *, max_bytes: int, timeout_s: float) -> bytes:
        """Return the bytes of a file, or one byte more than allowed of a file that is too long.

        Raises:
            ImageError: it is not there, takes too long, or is on another host.
        """
        deadline = time.monotonic() + timeout_s
        url = httpx.URL(self._url_of(name))
        try:
            for _ in range(1 + MAX_REDIRECTS):
                found = self._get(url, max_bytes, deadline)
                if isinstance(found, bytes):
                    return found
                url = url.join(found)
                if _origin(url) != _origin(self.url):
                    raise ImageError(f"{name} is not at {self.url} itself, which points to {_origin(url)}")
        except (httpx.HTTPError, httpx.InvalidURL, KeyError, ValueError) as error:
            raise ImageError(f"{name} cannot be had from {self.url}: {error or type(error).__name__}") from error
        raise ImageError(f"{name} cannot be had from {self.url}: it redirects in circles")

    def _url_of(self, name: str) -> str:
        return self.url + name if name.startswith("/") else name

    def _get(self, url: httpx.URL, max_bytes: int, deadline: float) -> bytes | str:
        """Return the body of an answer, or where it redirects to."""
        headers, timeout = self._headers(deadline), _time_left(deadline)
        with self._client.stream("GET", url, headers=headers, timeout=timeout) as response:
            if response.has_redirect_location:
                return str(response.headers["location"])
            response.raise_for_status()
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                _time_left(deadline)
                if len(data) > max_bytes:
                    break
            return bytes(data[: max_bytes + 1])

    def _headers(self, deadline: float) -> dict[str, str]:
        if not self._token:
            return {}
        if self._token.count(".") != 2:  # not a JSON web token
            return {"Authorization": f"Token {self._token}"}
        with self._lock:
            if time.monotonic() > self._access[1]:
                self._access = (self._exchange(deadline), time.monotonic() + ACCESS_TOKEN_S)
            return {"Authorization": f"Bearer {self._access[0]}"}

    def _exchange(self, deadline: float) -> str:
        """Return a short-lived token for the personal access token."""
        body, timeout = {"refresh": self._token}, _time_left(deadline)
        answer = self._client.post(f"{self.url}/api/token/refresh/", json=body, timeout=timeout).raise_for_status()
        return str(answer.json()["access"])


def _time_left(deadline: float) -> float:
    """Return the seconds left; ``httpx.ReadTimeout`` if there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpx.ReadTimeout("it takes too long")
    return left


def _origin(url: httpx.URL | str) -> str:
    """Return scheme, host and port as the client understands them: what is compared is what is asked."""
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.host}:{parts.port or {'http': 80, 'https': 443}.get(parts.scheme)}"
