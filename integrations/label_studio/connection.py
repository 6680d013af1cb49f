"""Requests to Label Studio: tokens of both kinds, pages, and errors that say what was rejected."""

from __future__ import annotations

import ipaddress
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.request import getproxies, proxy_bypass

import httpx

from clickpose.errors import LabelStudioError
from integrations.redaction import redacted

TIMEOUT_S = 110.0  # some answers wait for an ML backend, which Label Studio gives 100 s
CONNECT_LIMIT_S = 10.0
PAGE_SIZE = 100

Record: TypeAlias = dict[str, Any]


class Connection:
    """HTTP connections to one Label Studio server.

    Args:
        url: of the server, without a slash at the end.
        token: a legacy token (40 hexadecimal digits) or a personal access token (three parts with dots).
        transport: for tests.
    """

    def __init__(self, url: str, token: str, *, transport: httpx.BaseTransport | None = None) -> None:
        auth: httpx.Auth = PersonalToken(url, token) if token.count(".") == 2 else LegacyToken(token)
        self.url = url
        direct = is_this_machine(url)
        self._detour = "" if direct else _about_proxy(url)
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_LIMIT_S)
        self._http = httpx.Client(base_url=url, auth=auth, timeout=timeout, transport=transport, trust_env=not direct)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str) -> Record:
        """Return one record."""
        return self._record("GET", path)

    def post(self, path: str, body: Any) -> Record:
        """Send a body and return the record that the server made of it."""
        return self._record("POST", path, json=body)

    def pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Record]:
        """Yield the records of every page of a list."""
        seen, page = 0, 1
        while True:
            body: Any = self._record("GET", path, params={**query, "page": page, "page_size": PAGE_SIZE})
            records = body.get("tasks", body.get("results", []))
            yield from records
            seen, page = seen + len(records), page + 1
            if not records or seen >= body.get("total", body.get("count", 0)):
                return

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the decoded answer, None if it is empty.

        Raises:
            LabelStudioError: the server cannot be reached, rejects the request, or does not answer with JSON.
        """
        response = self._send(method, path, **options)
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise LabelStudioError(f"{self.url} did not answer {method} {path} with JSON") from error

    def server_time(self) -> datetime:
        """Return the time by the server's clock.

        Raises:
            LabelStudioError: the server cannot be reached, or its answer has no date.
        """
        date = self._send("GET", "/health").headers.get("date", "")
        try:
            return parsedate_to_datetime(date)
        except ValueError as error:
            raise LabelStudioError(f"{self.url} answers without a valid Date header: {date!r}") from error

    def _record(self, method: str, path: str, **options: Any) -> Record:
        answer = self.request(method, path, **options)
        if not isinstance(answer, dict):
            raise LabelStudioError(
                f"{self.url} answered {method} {path} with {str(answer)[:100]!r}: is that Label Studio?"
            )
        return answer

    def fetch(self, address: str) -> bytes:
        """Return the content at an address of this server, as Label Studio writes it into a task.

        Raises:
            LabelStudioError: the address is on another server, or the server cannot be reached or rejects the request.
        """
        return self._send("GET", self._inside(address), follow_redirects=True).content

    def _inside(self, address: str) -> str:
        """Return an address without the server's own; with a path in the server's, some start with it and some not."""
        server = httpx.URL(self.url)
        target = server.join(address)
        if (target.scheme, target.host, target.port) != (server.scheme, server.host, server.port):
            raise LabelStudioError(f"{address} is not on {self.url}, and images are not fetched from other servers")
        return "/" + target.raw_path.decode().removeprefix(server.path.rstrip("/")).lstrip("/")

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **options).raise_for_status()
        except httpx.HTTPStatusError as error:
            status, why = error.response.status_code, _explanation(error.response)
            raise LabelStudioError(f"{self.url} refused {method} {path} with status {status}: {why}") from error
        except httpx.HTTPError as error:
            raise LabelStudioError(f"{self.url} did not answer {method} {path}: {error!r}{self._detour}") from error


def is_this_machine(url: str) -> bool:
    """Tell whether a URL leads to this machine, which a company's proxy cannot reach."""
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _about_proxy(url: str) -> str:
    """Return a note for errors if requests to the server go through a proxy."""
    parts = httpx.URL(url)
    proxy = getproxies().get(parts.scheme) or getproxies().get("all")
    if not proxy or proxy_bypass(parts.host):
        return ""
    return f" (through the proxy {redacted(proxy)}; name {parts.host} in NO_PROXY to ask it directly)"


class LegacyToken(httpx.Auth):
    """A token that is sent as it is."""

    def __init__(self, token: str) -> None:
        self.token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["Authorization"] = f"Token {self.token}"
        yield request


class PersonalToken(httpx.Auth):
    """A personal access token, which is exchanged for tokens that are valid for some minutes."""

    requires_response_body = True

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.token = token
        self.access = ""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header; where the server says that the short-lived token has run out, get another one, once."""
        if self.access:
            request.headers["Authorization"] = f"Bearer {self.access}"
            response = yield request
            if response.status_code != 401:
                return
        exchange = httpx.Request("POST", f"{self.url}/api/token/refresh/", json={"refresh": self.token})
        answer = yield exchange
        if answer.is_error:
            raise LabelStudioError(f"{self.url} refused the personal access token with status {answer.status_code}")
        self.access = _access_in(answer, self.url)
        request.headers["Authorization"] = f"Bearer {self.access}"
        yield request


def _access_in(answer: httpx.Response, url: str) -> str:
    """Return the short-lived token of an answer; a page to log in, of a proxy in between, has none."""
    try:
        return str(answer.json()["access"])
    except (ValueError, KeyError, TypeError) as error:
        raise LabelStudioError(f"{url} did not exchange the personal access token: is that Label Studio?") from error


def _explanation(response: httpx.Response) -> str:
    """Return Label Studio's own explanation of an error, else the start of its answer."""
    if response.has_redirect_location:
        return f"it redirects to {redacted(response.headers['location'])}; give the address that it has now"
    try:
        body = response.json()
        return str(body.get("validation_errors") or body["detail"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return response.text[:300]
