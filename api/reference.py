"""The OpenAPI document as one page of HTML: no script, nothing loaded from elsewhere, readable offline."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

Json = Mapping[str, Any]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #2563eb }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; display: grid; grid-template-columns: 17rem 1fr }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1rem; border-right: 1px solid var(--line);
      box-sizing: border-box; font-size: 13px }
nav ul { list-style: none; padding: 0; margin: .2rem 0 1rem }
nav a, td a { color: inherit; text-decoration: none } nav a:hover, td a:hover { text-decoration: underline }
main { padding: 1rem 2rem 4rem; max-width: 60rem; min-width: 0 }
section { border-top: 1px solid var(--line); padding: 1rem 0 }
code, .path { font: 13px/1.4 ui-monospace, monospace } .path { font-size: 15px; overflow-wrap: anywhere }
.method { font: 700 12px ui-monospace, monospace; color: #fff; background: var(--accent); border-radius: 3px;
          padding: .15rem .4rem; margin-right: .4rem }
.POST { background: #15803d } .DELETE { background: #b91c1c } .PATCH, .PUT { background: #a16207 }
table { border-collapse: collapse; width: 100%; margin: .4rem 0 1rem; font-size: 13px }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem; border-bottom: 1px solid var(--soft) }
th { font-weight: 600 } td:first-child { white-space: nowrap } .soft { opacity: .7 }
h4 { margin: .8rem 0 .2rem; font-size: 13px; text-transform: uppercase; letter-spacing: .04em; opacity: .7 }
@media (max-width: 50rem) { body { display: block } nav { position: static; height: auto; border: 0 } }
"""


def page(document: Json) -> str:
    """The whole page."""
    info = document["info"]
    operations = [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    body = [
        f"<main><h1>{escape(info['title'])} <small class=soft>{escape(info['version'])}</small></h1>",
        f"<p>{_prose(info['description'])}</p><p><a href='/openapi.json'>openapi.json</a></p>",
        *(line for tag in document["tags"] for line in _group(tag, operations, document["components"]["responses"])),
        "<h2 id=schemas>Types</h2>",
        *(line for name, schema in sorted(document["components"]["schemas"].items()) for line in _type(name, schema)),
        "</main>",
    ]
    head = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style>"
    )
    return "\n".join([head, *_navigation(document, operations), *body, "</html>"])


def _navigation(document: Json, operations: list[tuple[str, str, Json]]) -> Iterator[str]:
    yield "<nav>"
    for tag in document["tags"]:
        yield f"<b>{escape(tag['name'])}</b><ul>"
        for _, _, operation in _tagged(tag, operations):
            yield f"<li><a href='#{operation['operationId']}'>{escape(operation['summary'])}</a></li>"
        yield "</ul>"
    yield "<b><a href='#schemas'>Types</a></b></nav>"


def _tagged(tag: Json, operations: Iterable[tuple[str, str, Json]]) -> Iterator[tuple[str, str, Json]]:
    return (entry for entry in operations if tag["name"] in entry[2]["tags"])


def _group(tag: Json, operations: list[tuple[str, str, Json]], refusals: Json) -> Iterator[str]:
    yield f"<h2>{escape(tag['name'])}</h2><p class=soft>{escape(tag['description'])}</p>"
    for path, method, operation in _tagged(tag, operations):
        yield f"<section id='{operation['operationId']}'><h3>{escape(operation['summary'])}</h3>"
        yield f"<p><span class='method {method}'>{method}</span><span class=path>{escape(path)}</span></p>"
        yield f"<p>{_prose(operation['description'])}</p>"
        if operation["parameters"]:
            yield "<h4>Parameters</h4><table>"
            for one in operation["parameters"]:
                yield _row(one["name"], one["schema"], one["required"], one.get("description", ""), one["in"])
            yield "</table>"
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            yield f"<h4>Body</h4><p>{_kind(schema)}</p>"
        yield "<h4>Answers</h4><table>"
        for status, response in operation["responses"].items():
            if "$ref" in response:
                yield f"<tr class=soft><td>{status}<td>{_prose(refusals[status]['description'])}<td>"
                continue
            kinds = [
                _kind(content["schema"]) for content in response.get("content", {}).values() if "schema" in content
            ]
            yield f"<tr><td>{status}<td>{_prose(response['description'])}<td>{', '.join(kinds)}"
        yield "</table></section>"


def _type(name: str, schema: Json) -> Iterator[str]:
    yield f"<section id='{_anchor(name)}'><h3><code>{escape(name)}</code></h3>"
    yield f"<p>{_prose(schema.get('description', ''))}</p><table>"
    required = schema.get("required", ())
    for member, inner in schema.get("properties", {}).items():
        yield _row(member, inner, member in required, inner.get("description", ""))
    yield "</table>" if "properties" in schema else f"</table><p>{_kind(schema)}</p>"
    yield "</section>"


def _row(name: str, schema: Json, required: bool, description: str, place: str = "") -> str:
    marks = " ".join(mark for mark in (place, "" if required else "optional", _limits(schema)) if mark)
    return (
        f"<tr><td><code>{escape(name)}</code><td>{_kind(schema)} <span class=soft>{escape(marks)}</span>"
        f"<td>{_prose(description)}"
    )


def _kind(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#{_anchor(name)}'><code>{escape(name)}</code></a>"
    if "anyOf" in schema or "oneOf" in schema:
        return " or ".join(_kind(one) for one in schema.get("anyOf", schema.get("oneOf", ())))
    if "const" in schema:
        return f"<code>{escape(repr(schema['const']))}</code>"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return escape(schema.get("format") or str(schema.get("type", "anything")))


def _limits(schema: Json) -> str:
    words = {
        "minimum": "≥ {}",
        "exclusiveMinimum": "> {}",
        "maximum": "≤ {}",
        "exclusiveMaximum": "< {}",
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {}",
        "maxItems": "at most {}",
        "default": "default {}",
    }
    return ", ".join(text.format(schema[word]) for word, text in words.items() if schema.get(word) is not None)


def _prose(text: str) -> str:
    """Escaped text; `code` between backticks; an empty line starts a paragraph."""
    parts = escape(text).split("`")
    marked = "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))
    return marked.replace("\n\n", "</p><p>")


def _anchor(name: str) -> str:
    return "type-" + "".join(letter if letter.isalnum() else "-" for letter in name)
