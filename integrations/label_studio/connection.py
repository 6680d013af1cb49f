"""Requests to Label Studio: tokens of both kinds, pages, and errors that say what was refused."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any, TypeAlias

import httpx

from clickpose.errors import LabelStudioError

TIMEOUT_S = 110.0  # some answers wait for an ML backend, which Label Studio gives 100 s
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
        self._http = httpx.Client(base_url=url, auth=auth, timeout=TIMEOUT_S, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str) -> Record:
        """Return one record."""
        return dict(self.request("GET", path))

    def post(self, path: str, body: Any) -> Record:
        """Send a body and return the record that the server made of it."""
        return dict(self.request("POST", path, json=body))

    def pages(self, path: str, query: Mapping[str, Any]) -> Iterator[Record]:
        """Yield the records of every page of a list."""
        seen, page = 0, 1
        while True:
            body = self.request("GET", path, params={**query, "page": page, "page_size": PAGE_SIZE})
            records = body.get("tasks", body.get("results", []))
            yield from records
            seen, page = seen + len(records), page + 1
            if not records or seen >= body.get("total", body.get("count", 0)):
                return

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the decoded answer, None if it is empty.

        Raises:
            LabelStudioError: the server cannot be reached, refuses, or does not answer with JSON.
        """
        try:
            response = self._http.request(method, path, **options)
            response.raise_for_status()
            return response.json() if response.content else None
        except httpx.HTTPStatusError as error:
            status, why = error.response.status_code, _explanation(error.response)
            raise LabelStudioError(f"{self.url} refused {method} {path} with status {status}: {why}") from error
        except httpx.HTTPError as error:
            raise LabelStudioError(f"{self.url} did not answer {method} {path}: {error!r}") from error
        except ValueError as error:
            raise LabelStudioError(f"{self.url} did not answer {method} {path} with JSON") from error


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
        self.access = str(answer.json()["access"])
        request.headers["Authorization"] = f"Bearer {self.access}"
        yield request


def _explanation(response: httpx.Response) -> str:
    """Return Label Studio's own words for a refusal, else the start of whatever it sent."""
    try:
        body = response.json()
        return str(body.get("validation_errors") or body["detail"])
    except (ValueError, KeyError, AttributeError):
        return response.text[:300]
