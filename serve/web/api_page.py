"""The REST interface as a page, generated from its OpenAPI document, without scripts or other servers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 50rem; margin: 2rem auto }} pre {{ background: #eee }}</style>
<h1>{title}</h1><p>Every route except <code>/health</code> requires the secret, as Bearer token or Basic password.
For programs: <a href="openapi.json">openapi.json</a></p>"""


def write_page(document: Mapping[str, Any]) -> str:
    """Return a page with every route of an OpenAPI document and its body, then all schemas."""
    parts = [HEAD.format(title=escape(document["info"]["title"]))]
    parts += [_route(path, method, what) for path, method, what in _routes(document)]
    schemas = document.get("components", {}).get("schemas", {})
    return "\n".join([*parts, *(_schema(name, schema) for name, schema in schemas.items())])


def _routes(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, what in methods.items():
            yield path, method, what


def _route(path: str, method: str, what: Mapping[str, Any]) -> str:
    content = what.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    takes = f'<p>Body: <a href="#{escape(body)}">{escape(body)}</a>.</p>' if body else ""
    return f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(what.get('description', ''))}</p>{takes}"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><pre>{escape(json.dumps(schema, indent=1))}</pre>'
