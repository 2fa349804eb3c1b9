"""What a refusal looks like."""

import json
from typing import Annotated, Any

import pytest
from pydantic import Field
from structlog.testing import capture_logs

from api import problems
from api.auth.callers import Anyone
from api.edge import get, post
from api.schemas import Model
from infra.errors import Conflict, Exhausted, Forbidden, Invalid, NotFound, PaymentRequired, Refusal, Unauthorized

pytestmark = pytest.mark.usefixtures("database")


class Place(Model):
    latitude: Annotated[float, Field(ge=-90, le=90)]


class Draft(Model):
    title: Annotated[str, Field(min_length=3, max_length=10)]
    place: Place | None = None
    metadata: dict[str, Any] | None = None


@post("/drafts", who=Anyone(), summary="Echo")
def echo(data: Draft) -> Draft:
    return data


def refuse(serve: Any, content: bytes | str, **headers: str) -> dict[str, Any]:
    with serve(echo) as client:
        answer = client.post("/drafts", content=content, headers={"Content-Type": "application/json", **headers})
    assert answer.headers["content-type"] == problems.MEDIA_TYPE
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    assert document["request_id"] == answer.headers["x-request-id"]
    return document


def test_names_each_field_its_fault_and_its_limit(serve: Any) -> None:
    found = refuse(serve, json.dumps({"title": "x" * 11, "place": {"latitude": 91}, "extra": 1}))
    assert (found["status"], found["type"], found["title"]) == (422, "/problems/wrong-input", "Some fields do not fit")
    assert found["errors"] == [
        {"field": "title", "message": "should have at most 10 characters", "limit": {"max_length": 10}},
        {"field": "place.latitude", "message": "should be less than or equal to 90", "limit": {"le": 90.0}},
        {"field": "extra", "message": "is not a known field"},
    ]
    assert found["detail"] == "title: should have at most 10 characters. And 2 more."


def test_says_what_is_missing(serve: Any) -> None:
    assert refuse(serve, "{}")["errors"] == [{"field": "title", "message": "is required"}]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"title": "\xed\xa0\x80"}', b'{"title": "\\ud800"}'])
def test_what_is_not_json_is_a_400(serve: Any, content: bytes) -> None:
    assert (refuse(serve, content)["status"], refuse(serve, content)["type"]) == (400, "/problems/malformed-request")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (r'{"title": "a\u0000bc"}', "title"),
        (r'{"title": "abc", "metadata": {"a": [1, {"b": "\u0000"}]}}', "metadata.a.1.b"),
        (r'{"title": "abc", "metadata": {"\u0000": 1}}', "metadata"),
        ('{"title": "abc", "metadata": {"a": 1e999}}', "metadata.a"),
        ('{"title": "abc", "metadata": {"a": NaN}}', "metadata.a"),
    ],
)
def test_what_the_database_cannot_hold_is_refused_at_any_depth(serve: Any, content: str, field: str) -> None:
    found = refuse(serve, content)
    assert (found["status"], [error["field"] for error in found["errors"]]) == (422, [field])


def test_nul_in_the_query_is_refused(client: Any, buyer: Any) -> None:
    answer = client.get("/v1/keys?cursor=a%00b", headers=buyer.headers)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")


def test_another_content_type_is_a_415(serve: Any) -> None:
    assert refuse(serve, "title=abc", **{"Content-Type": "application/x-www-form-urlencoded"})["status"] == 415


def test_a_body_beyond_one_mebibyte_is_a_413(serve: Any) -> None:
    assert refuse(serve, b"x" * (1024 * 1024 + 1))["status"] == 413


def test_unknown_routes_and_methods_are_problems_too(client: Any) -> None:
    missing, wrong = client.get("/v1/nothing"), client.put("/v1/keys")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/no-such-route")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, OPTIONS, POST")
    assert missing.headers["content-type"] == wrong.headers["content-type"] == problems.MEDIA_TYPE
    assert missing.json()["request_id"] == missing.headers["x-request-id"]


def test_a_bug_is_logged_once_and_told_to_nobody(serve: Any) -> None:
    @get("/bug", who=Anyone(), summary="Bug")
    def bug() -> int:
        raise RuntimeError("secret inner words")

    with serve(bug) as client, capture_logs() as lines:
        answer = client.get("/bug", headers={"X-Request-Id": "request-77"})
    (logged,) = [line for line in lines if "exc_info" in line]
    assert (str(logged["exc_info"]), logged["route"]) == ("secret inner words", "/bug")
    assert (answer.status_code, answer.json()["request_id"]) == (500, "request-77")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Invalid, 422),
        (Unauthorized, 401),
        (PaymentRequired, 402),
        (Forbidden, 403),
        (NotFound, 404),
        (Conflict, 409),
        (Exhausted, 429),
    ],
)
def test_each_kind_of_refusal_has_its_status(kind: type[Refusal], status: int) -> None:
    assert problems.status_of(type("Special", (kind,), {})) == status


def test_a_sane_request_id_is_kept_and_another_replaced(client: Any) -> None:
    assert (
        client.get("/health/live", headers={"X-Request-Id": "abc.DEF-123:4"}).headers["x-request-id"] == "abc.DEF-123:4"
    )
    for bad in ("short", "a" * 129, "with space in it", "semi;colon;here"):
        given = client.get("/health/live", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert given.startswith("req_")
