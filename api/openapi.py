"""
The OpenAPI 3.1 document, written from the declared endpoints with pydantic's own JSON Schema: what is parsed and what is
documented are the same types. Readable in a browser at `/docs`, without anything from another host.
"""

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from pydantic import BaseModel, TypeAdapter

from api import answers, idempotency, problems, reference, waiting
from api.answers import AnyRequest
from api.auth.callers import Anyone, Buyer
from api.declared import PATH_PARAMETER
from api.edge import ENDPOINT, Endpoint, get
from infra.settings import settings

REF = "#/components/schemas/{model}"
AUDIENCES = {
    "buyer": "What organizations and their scripts call, with an API key.",
    "worker": "What the worker apps call, with an access token.",
    "staff": "What trust-and-safety and operations people call, with a session token.",
    "system": "Health, figures and this document.",
}
SECURITY = {
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An organization's API key, `fw_live_…` or `fw_test_…`.",
    },
    "worker_token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A worker's access token from `/v1/worker/auth/tokens`.",
    },
    "staff_token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A staff member's session token from `/v1/staff/auth/sessions`.",
    },
}


class FieldFault(BaseModel):
    """One field that does not fit."""

    field: str
    message: str
    limit: dict[str, Any] | None = None


class Problem(BaseModel):
    """A refusal (RFC 9457). Some kinds have further members that say what to do."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str | None
    errors: list[FieldFault] | None = None


REFUSALS = {
    400: "The body is not JSON.",
    401: "No credentials, or not valid ones.",
    402: "The wallet does not hold enough.",
    403: "Known, but not allowed.",
    404: "There is no such thing.",
    409: "This does not fit the current state, or the Idempotency-Key was used for another request.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Some fields do not fit; `errors` names each with its limit.",
    429: "Too many requests, or another limit is reached. `Retry-After` says when to try again.",
    503: "The database or storage is away. Nothing was changed; try again.",
}


@get("/openapi.json", who=Anyone(), summary="This API as an OpenAPI document")
def read_document(request: AnyRequest) -> Response[dict[str, Any]]:
    """OpenAPI 3.1."""
    return Response(_cached(request.app), media_type=answers.JSON)


@get("/docs", who=Anyone(), summary="This API for people")
def read_reference(request: AnyRequest) -> Response[bytes]:
    """One page of HTML that needs no script and nothing from elsewhere."""
    page = reference.page(_cached(request.app)).encode()
    return Response(page, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": reference.POLICY})


def _cached(app: Litestar) -> dict[str, Any]:
    if not hasattr(app.state, "openapi"):
        app.state.openapi = document(endpoints_of(app))
    found: dict[str, Any] = app.state.openapi
    return found


def endpoints_of(app: Litestar) -> list[Endpoint]:
    """What the application serves, in the order of paths."""
    found = {
        handler.opt[ENDPOINT].name: handler.opt[ENDPOINT]
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler) and ENDPOINT in handler.opt
    }
    return sorted(found.values(), key=lambda endpoint: (endpoint.path, endpoint.method))


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The whole document."""
    endpoints = list(endpoints)
    schemas = _Schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(_plain(endpoint.path), {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    tags = sorted({_tag(endpoint) for endpoint in endpoints})
    made = {
        "openapi": "3.1.0",
        "info": {
            "title": "Footwork",
            "version": version("footwork"),
            "description": "An open, self-hosted backend for mobile crowd work with media ingestion. Money is integer "
            "cents, time is ISO 8601 in UTC, ids are prefixed and sort by creation, lists are newest first.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": str(settings().public_url)}],
        "tags": [{"name": tag, "description": AUDIENCES[tag.partition(":")[0]]} for tag in tags],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {str(status): _problem(text, schemas) for status, text in REFUSALS.items()},
            "securitySchemes": SECURITY,
        },
    }
    # `JobViewPage` reads better in generated clients than what pydantic makes of `Page[JobView]`.
    named: dict[str, Any] = json.loads(re.sub(r'\bPage_(\w+?)_(?=")', r"\1Page", json.dumps(made)))
    return named


class _Schemas:
    """JSON Schemas of all bodies, and the components they refer to."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        wanted: list[tuple[str, Any, TypeAdapter[Any]]] = [("problem", "serialization", TypeAdapter(Problem))]
        for endpoint in endpoints:
            if endpoint.declared.data is not None:
                wanted.append((endpoint.name, "validation", endpoint.declared.data))
            if endpoint.declared.answer is not None:
                wanted.append((endpoint.name, "serialization", endpoint.declared.answer))
        self._made, shared = TypeAdapter.json_schemas(wanted, ref_template=REF)
        self.components: dict[str, Any] = shared.get("$defs", {})

    def of(self, name: str, mode: Any) -> dict[str, Any]:
        """The schema of an endpoint's request (`validation`) or answer (`serialization`)."""
        return self._made[name, mode]

    def fields(self, model: type[BaseModel]) -> Iterable[tuple[str, dict[str, Any], bool]]:
        """Name, schema and whether it is required of each parameter."""
        schema = model.model_json_schema(ref_template=REF)
        self.components.update(schema.pop("$defs", {}))
        for name, member in schema.get("properties", {}).items():
            yield name, _speakable(member), name in schema.get("required", ())


def _speakable(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without the null that an address cannot carry."""
    schema.pop("title", None)
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        schema = {**{name: value for name, value in schema.items() if name != "anyOf"}, **options[0]}
    return {name: value for name, value in schema.items() if (name, value) != ("default", None)}


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    declared = endpoint.declared
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "tags": [_tag(endpoint)],
        "summary": endpoint.summary,
        "description": _description(endpoint),
        "parameters": [*_parameters(endpoint, schemas)],
        "responses": _responses(endpoint, schemas),
        "security": [{endpoint.who.scheme: []}] if endpoint.who.scheme else [],
    }
    if declared.data is not None:
        operation["requestBody"] = {
            "required": not declared.data_optional,
            "content": {answers.JSON: {"schema": schemas.of(endpoint.name, "validation")}},
        }
    return operation


def _parameters(endpoint: Endpoint, schemas: _Schemas) -> Iterable[dict[str, Any]]:
    for place, model in (("path", endpoint.declared.path), ("query", endpoint.declared.query)):
        for name, schema, required in schemas.fields(model):
            about = {"description": schema.pop("description")} if "description" in schema else {}
            yield {"name": name, "in": place, "required": required or place == "path", **about, "schema": schema}
    if endpoint.method == "POST" and isinstance(endpoint.who, Buyer):
        yield _header(idempotency.HEADER, "Sent twice with the same body it happens once; kept for 24 hours.", 255)
    if endpoint.waits:
        yield _header(
            "Prefer", f"`wait=N`: hold the answer up to N (at most {waiting.LONGEST}) seconds until it changes."
        )
    if endpoint.method == "GET" and not endpoint.declared.raw:
        yield _header("If-None-Match", "The ETag you have: 304 if nothing changed.")


def _header(name: str, description: str, longest: int | None = None) -> dict[str, Any]:
    limit = {"minLength": 1, "maxLength": longest, "pattern": "^[!-~]+$"} if longest else {}
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **limit},
    }


def _responses(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    declared = endpoint.declared
    success: dict[str, Any] = {"description": endpoint.summary}
    if declared.answer is not None:
        success["content"] = {answers.JSON: {"schema": schemas.of(endpoint.name, "serialization")}}
    elif declared.raw:
        success["content"] = {"*/*": {}}
    made: dict[str, Any] = {str(endpoint.status): success}
    if endpoint.method == "GET" and not declared.raw:
        made["304"] = {"description": "Nothing changed since the ETag you have."}
    if endpoint.path == "/health/ready":
        made["503"] = {"description": "Not ready.", "content": {"*/*": {}}}
    for status in _refusals(endpoint):
        made.setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
    return made


def _problem(description: str, schemas: _Schemas) -> dict[str, Any]:
    content = {problems.MEDIA_TYPE: {"schema": schemas.of("problem", "serialization")}}
    return {"description": description, "content": content}


def _refusals(endpoint: Endpoint) -> Iterable[int]:
    changes = endpoint.method != "GET"
    if endpoint.who.scheme is None and endpoint.method == "GET":
        return (429,)
    statuses = {401, 403, 404, 422, 429, 503}
    if changes:
        statuses |= {409, 413}
    if endpoint.declared.data is not None:
        statuses |= {400, 415}
    if changes and isinstance(endpoint.who, Buyer):
        statuses |= {402}
    return sorted(statuses)


def _tag(endpoint: Endpoint) -> str:
    audience = endpoint.who.audience
    if audience == "open":
        second = endpoint.path.split("/")[2] if endpoint.path.startswith("/v1/") else ""
        audience = second if second in AUDIENCES else "system"
    if audience == "system":
        return "system"
    words = [word for word in endpoint.path.split("/")[2:] if word not in (audience, "") and "{" not in word]
    return f"{audience}: {words[0] if words else 'account'}"


def _plain(path: str) -> str:
    return PATH_PARAMETER.sub(r"{\1}", path)


def _description(endpoint: Endpoint) -> str:
    text = inspect.getdoc(endpoint.declared.function) or ""
    text = re.split(r"\n\s*:(?:raises|param|return)", text, maxsplit=1)[0].strip()
    scopes: Mapping[str, Any] = {"scopes": sorted(getattr(endpoint.who, "scopes", ()))}
    if scopes["scopes"]:
        text += f"\n\nScopes: {', '.join(f'`{scope}`' for scope in scopes['scopes'])}."
    return text.strip()
