"""An answer before it is sent: made inside the transaction, sent only after the commit."""

import base64
import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from litestar import Request, Response

JSON = "application/json"

AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True)
class Answer:
    """Status, serialised body and headers."""

    status: int
    body: bytes = b""
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)

    def with_headers(self, **headers: str) -> "Answer":
        """The same with further headers; `Idempotent_Replay` is written `Idempotent-Replay`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})

    @property
    def etag(self) -> str:
        """A strong validator of the body (RFC 9110, 8.8.3)."""
        return '"' + base64.urlsafe_b64encode(hashlib.blake2b(self.body, digest_size=15).digest()).decode() + '"'

    def response(self) -> Response[bytes | None]:
        """As Litestar sends it."""
        empty = self.status in (204, 304)
        return Response(
            content=None if empty else self.body,
            status_code=self.status,
            headers=self.headers if empty else {"content-type": self.media_type, **self.headers},
        )


def conditional(answer: Answer, if_none_match: str | None) -> Answer:
    """Give a 200 its ETag, or make it a 304 when the caller already has this body (RFC 9110, 13.1.2: weak comparison)."""
    if answer.status != 200:
        return answer
    tagged = answer.with_headers(ETag=answer.etag, Cache_Control="private, no-cache")
    if if_none_match is not None and same_body(answer, if_none_match):
        return replace(tagged, status=304, body=b"")
    return tagged


def same_body(answer: Answer, if_none_match: str) -> bool:
    """Whether one of the listed validators is this body's."""
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in known or answer.etag in known


def add_headers(request: AnyRequest, headers: dict[str, str]) -> None:
    """Headers that go out with whatever is answered, refusals included; `api/watch.py` adds them."""
    request.scope["state"].setdefault("answer_headers", {}).update(headers)
