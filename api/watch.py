"""
What happens to every HTTP exchange, whatever becomes of it: a request id, headers, one line in the log, one measurement.

The line names the route's template, never the path or query as sent: those carry ids, positions and tokens.
"""

import re
import time

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import HTTPScope, Message, Receive, Scope, Send

from infra import ids, telemetry

SANE_ID = re.compile(r"[A-Za-z0-9._:-]{8,128}")
QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})  # asked every few seconds by machines
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000",
}

_log = telemetry.log("api.access")


class Application(Litestar):
    """Litestar with a watch around all of it, refusals of unknown routes included."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        if scope["type"] != ScopeType.HTTP:
            await super().__call__(scope, receive, send)
            return
        await self._watched(scope, receive, send)

    async def _watched(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        id = request_id(scope)
        telemetry.bind(id)
        started = time.perf_counter()
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = {"X-Request-Id": id, **SECURITY_HEADERS, **scope.get("state", {}).get("answer_headers", {})}
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((n.encode(), v.encode()) for n, v in added.items() if n.lower().encode() not in present),
                ]
            await send(message)

        try:
            await super().__call__(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - started
            route = scope.get("path_template") or "none"
            telemetry.REQUESTS.labels(scope["method"], route, str(status)).observe(seconds)
            level = _log.debug if route in QUIET else _log.info
            level("request", method=scope["method"], route=route, status=status, ms=round(seconds * 1_000, 1))
            telemetry.bind(None)


def request_id(scope: HTTPScope) -> str:
    """The caller's `X-Request-Id` if it is a sane one, else a new id."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            sent = value.decode("latin-1")
            if SANE_ID.fullmatch(sent):
                return sent
    return ids.show("req", ids.new())
