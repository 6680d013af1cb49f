"""The REST interface as a page, generated from its OpenAPI document: schemas, ``curl`` lines, and forms to try it out.

The page contains everything it needs and contacts no server but this one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from shlex import quote
from typing import Any, TypeAlias

Json: TypeAlias = Mapping[str, Any]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 50rem; margin: 2rem auto }}
pre {{ background: #eee; overflow: auto }}
textarea, input {{ width: 100%; box-sizing: border-box; font-family: monospace }}</style>
<h1>{title}</h1><p>Every route except <code>/health</code> requires the secret, as Bearer token or Basic password.
For programs: <a href="openapi.json">openapi.json</a>. In the <code>curl</code> lines,
<code>$URL</code> is the address of this service, <code>$KEY</code> the key of an open image;
<code>photos/one.jpg</code> stands for an image that the service can read.</p>"""
SCRIPT = """<script>
addEventListener("submit", async (event) => {
  event.preventDefault();
  const { path, body } = event.target.elements;
  const request = { method: event.target.dataset.method };
  if (body) Object.assign(request, { body: body.value, headers: { "Content-Type": "application/json" } });
  const answer = await fetch(path.value, request);
  event.target.querySelector("pre").textContent = `${answer.status}\\n${await answer.text()}`;
});
</script>"""


def write_page(document: Json) -> str:
    """Return a page with every route of an OpenAPI document, then every schema."""
    schemas = document.get("components", {}).get("schemas", {})
    parts = [HEAD.format(title=escape(document["info"]["title"]))]
    parts += [_route(path, method, route, schemas) for path, method, route in _routes(document)]
    return "\n".join([*parts, *(_schema(name, schema) for name, schema in schemas.items()), SCRIPT])


def _routes(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            yield path, method.upper(), route


def _route(path: str, method: str, route: Json, schemas: Json) -> str:
    content = route.get("requestBody", {}).get("content", {})
    body = _name(content)
    answers = [answer for status, answer in route["responses"].items() if status.startswith("2")]
    example = (schemas.get(body, {}).get("examples") or [{}])[0] if body else None
    is_file = bool(content) and not body
    return "\n".join(
        [
            f"<h2>{method} {escape(path)}</h2><p>{escape(route.get('description', ''))}</p>",
            _link("Body", body) + "".join(_link("Answer", _name(answer.get("content", {}))) for answer in answers),
            f"<pre>{escape(_curl(path, method, example, is_file))}</pre>",
            "" if is_file else _form(path, method, example),
        ]
    )


def _name(content: Json) -> str:
    """Return the name of a JSON schema; empty if there is none."""
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    return str(reference.rpartition("/")[2])


def _link(label: str, schema: str) -> str:
    return f'<p>{label}: <a href="#{escape(schema)}">{escape(schema)}</a></p>' if schema else ""


def _curl(path: str, method: str, example: Json | None, is_file: bool) -> str:
    parts = ["curl", "-X", method, '-H "Authorization: Bearer $CLICKPOSE_SECRET"']
    if is_file:
        parts.append("--data-binary @photo.jpg")
    elif example is not None:
        parts.append(f"-H 'Content-Type: application/json' -d {quote(json.dumps(example))}")
    with_variables = re.sub(r"{(\w+)}", lambda found: f"${found[1].upper()}", path)
    return " ".join([*parts, f'"$URL{with_variables}"'])


def _form(path: str, method: str, example: Json | None) -> str:
    body = ""
    if example is not None:
        body = f'<textarea name="body" rows="6">{escape(json.dumps(example, indent=1))}</textarea>'
    return (
        f'<details><summary>Try it out</summary><form data-method="{method}"><input name="path" value="{escape(path)}">'
        f"{body}<button>Send</button><pre></pre></form></details>"
    )


def _schema(name: str, schema: Json) -> str:
    return f'<h3 id="{escape(name)}">{escape(name)}</h3><pre>{escape(json.dumps(schema, indent=1))}</pre>'
