"""The document and its page describe what is served; and no request, however odd, makes the server break."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zlib import crc32

import hypothesis
import pyotp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api import app, openapi
from api.auth import staff
from infra import clock, db

DOCUMENT = openapi.document(openapi.endpoints_of(app.build()))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        found: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_operation_says_who_what_and_how(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["summary"]
    assert operation["description"], "write a docstring: it is what people read"
    assert len(operation["tags"]) == 1
    scheme = [entry for entry in operation["security"] for entry in entry]
    assert set(scheme) <= {"api_key", "worker_token", "staff_token"}
    if scheme:
        assert {"401", "403"} <= operation["responses"].keys()


def test_buyers_posts_document_the_idempotency_key() -> None:
    for name, operation in OPERATIONS.items():
        headers = {p["name"] for p in operation["parameters"] if p["in"] == "header"}
        expected = name.startswith("POST") and operation["security"] == [{"api_key": []}]
        assert ("Idempotency-Key" in headers) is expected, name


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(client: Any) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for operation in OPERATIONS.values():
        assert f"<section id='{operation['operationId']}'>" in answer.text
    for outside in ("<script", "http://", "https://", "src="):
        assert outside not in answer.text
    assert "style-src 'unsafe-inline'" in answer.headers["content-security-policy"]


def test_the_document_is_served(client: Any) -> None:
    assert client.get("/openapi.json").json() == json.loads(json.dumps(DOCUMENT))


@pytest.fixture
def world(client: Any, configure: Any, make_buyer: Any, sign_in: Any) -> dict[str, Any]:
    """Somebody of each kind signed in, and something of each kind to name in a path."""
    configure(requests_per_minute=1_000_000, anonymous_requests_per_minute=1_000_000, webhook_private_addresses=True)
    with db.transaction() as session:
        address = staff.add(session, "eva@example.org", "correct horse battery", "admin", now=clock.now())
    buyer, worker = make_buyer(), sign_in("walter@example.org")

    def send(path: str, who: dict[str, str], **body: Any) -> Any:
        answer = client.post(path, headers=who, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    code = pyotp.TOTP(parse_qs(urlsplit(address).query)["secret"][0]).now()
    eva = send("/v1/staff/auth/sessions", {}, email="eva@example.org", password="correct horse battery", totp=code)
    send("/v1/wallet/sandbox-top-ups", buyer.headers, amount_cents=1_000_000)
    job = send("/v1/jobs", buyer.headers, **JOB)
    hook = send("/v1/webhook-endpoints", buyer.headers, url="http://127.0.0.1:9/hook")
    key = send("/v1/keys", buyer.headers, name="spare", scopes=["jobs:read"], mode="live")
    return {
        "client": client,
        "headers": {
            "api_key": buyer.headers,
            "worker_token": worker.headers,
            "staff_token": {"Authorization": f"Bearer {eva['token']}"},
        },
        "ids": {
            "job_id": job["id"],
            "key_id": key["id"],
            "endpoint_id": hook["id"],
            "worker_id": worker.tokens["worker_id"],
        },
    }


JOB = {
    "title": "Mailboxes",
    "description": "Photos of residential mailboxes",
    "files_needed": 10,
    "price_per_file_cents": 50,
    "publish": True,
}


# What ends the sign-in that the other requests of the test need.
ENDS = {"POST /v1/worker/auth/sign-out", "DELETE /v1/staff/auth/sessions/current"}


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_nothing_anybody_sends_breaks_the_server(case: Any, world: dict[str, Any]) -> None:
    if f"{case.method} {case.path}" in ENDS:
        return
    for name, made_up in (case.path_parameters or {}).items():
        if name in world["ids"] and crc32(str(made_up).encode()) % 2:  # half of the time something that exists
            case.path_parameters[name] = world["ids"][name]
    scheme = next(iter((case.operation.definition.raw.get("security") or [{}])[0]), None)
    arguments = case.as_transport_kwargs(base_url="http://testserver")
    sent = {name: value for name, value in arguments["headers"].items() if name.lower() != "authorization"}
    sent |= world["headers"].get(scheme, {})
    headers = {name: value.encode("latin-1") for name, value in sent.items()}
    answer = world["client"].request(
        arguments["method"],
        arguments["url"],
        params=arguments.get("params"),
        headers=headers,
        json=arguments.get("json"),
        content=arguments.get("data"),
    )
    case.validate_response(answer, checks=CHECKS)
