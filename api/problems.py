"""
Refusals as `application/problem+json` (RFC 9457). The one place where an HTTP status is decided.

`type` is a stable relative reference, `/problems/no-slot-left`, named after the refusal's class.
"""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from litestar import Response
from litestar.exceptions import HTTPException
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.answers import AnyRequest
from infra import telemetry
from infra.errors import (
    Conflict,
    Exhausted,
    Forbidden,
    Invalid,
    NotFound,
    PaymentRequired,
    Refusal,
    Unauthorized,
    Unavailable,
)

MEDIA_TYPE = "application/problem+json"
BODY_BYTES = 1024 * 1024

_log = telemetry.log(__name__)


class MalformedRequest(Invalid):
    """The request could not be read."""


class UnsupportedMediaType(Invalid):
    """This content type is not understood here."""


class WrongInput(Invalid):
    """Some fields do not fit."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        first = errors[0]
        more = f" And {len(errors) - 1} more." if len(errors) > 1 else ""
        super().__init__(f"{first['field'] or 'body'}: {first['message']}.{more}", errors=errors)


STATUS: Mapping[type[Refusal], int] = {
    MalformedRequest: 400,
    UnsupportedMediaType: 415,
    Invalid: 422,
    Unauthorized: 401,
    PaymentRequired: 402,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    Exhausted: 429,
    Unavailable: 503,
}


def status_of(refusal: type[Refusal]) -> int:
    """The HTTP status of a refusal: that of the nearest kind it descends from."""
    return next((STATUS[kind] for kind in refusal.__mro__ if kind in STATUS), 400)


def refused(_: AnyRequest, refusal: Refusal) -> Response[bytes]:
    """The answer to a refusal."""
    status = status_of(type(refusal))
    telemetry.REFUSALS.labels(refusal.code()).inc()
    headers = {}
    if isinstance(refusal, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="footwork"'
    if "retry_after" in refusal.members:
        headers["Retry-After"] = str(refusal.members["retry_after"])
    return problem(status, refusal.code(), refusal.title(), refusal.detail, refusal.members, headers)


def http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """What Litestar refuses before any of our code runs: no such route, wrong method, body too large."""
    status = HTTPStatus(error.status_code)
    if status >= 500:
        return bug(request, error)
    details = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not offered here.",
        413: f"A body may have at most {BODY_BYTES:,} bytes. Files go straight to storage, by a presigned address.",
    }
    code = {404: "no-such-route", 413: "body-too-large"}.get(status, status.phrase.lower().replace(" ", "-"))
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    return problem(status, code, status.phrase, details.get(status, error.detail), {}, headers)


def unavailable(_: AnyRequest, error: Exception) -> Response[bytes]:
    """The database is away or overloaded: nothing was changed, trying again is safe."""
    _log.error("database unavailable", error=type(error).__name__, detail=str(error).splitlines()[0])
    detail = "Nothing was changed. Try again in a moment."
    return problem(503, "unavailable", "Not available right now", detail, {}, {"Retry-After": "2"})


def bug(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Anything else is our mistake: logged once with its traceback, told to nobody."""
    _log.error("request failed", exc_info=error, method=request.method, route=request.scope.get("path_template"))
    detail = "This is our mistake. Nothing was changed. Tell us the request_id."
    return problem(500, "internal-error", "Something broke on our side", detail, {}, {})


HANDLERS: dict[int | type[Exception], Any] = {
    Refusal: refused,
    HTTPException: http_error,
    OperationalError: unavailable,
    PoolTimeout: unavailable,
    Exception: bug,
}


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    members: Mapping[str, Any],
    headers: Mapping[str, str],
) -> Response[bytes]:
    """A problem document. The standard members win over a refusal's own of the same name."""
    document = {
        **members,
        "type": f"/problems/{code}",
        "title": title,
        "status": int(status),
        "detail": detail,
        "request_id": telemetry.request_id(),
    }
    return Response(
        content=json.dumps(document, default=str, ensure_ascii=False).encode(),
        status_code=int(status),
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **headers},
    )


# pydantic's word for a limit -> ours
_LIMITS = ("ge", "gt", "le", "lt", "min_length", "max_length", "multiple_of", "pattern", "expected")


def faults(error: ValidationError) -> list[dict[str, Any]]:
    """What pydantic found, as `{field, message, limit}` in plain words; the value sent is not repeated."""
    return [_fault(found) for found in error.errors(include_url=False, include_input=False)]


def _fault(found: Any) -> dict[str, Any]:
    context = found.get("ctx", {})
    limits = {name: context[name] for name in _LIMITS if name in context}
    field = ".".join(str(part) for part in found["loc"])
    return {
        "field": field,
        "message": _plain(found["type"], found["msg"]).rstrip("."),
        **({"limit": limits} if limits else {}),
    }


def _plain(kind: str, message: str) -> str:
    words = {"missing": "is required", "extra_forbidden": "is not a known field"}
    if kind in words:
        return words[kind]
    message = re.sub(r"^\w+ (should|must) ", r"\1 ", message.removeprefix("Value error, "))
    return message[:1].lower() + message[1:]
