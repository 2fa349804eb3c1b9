"""
Rate limits: how many requests a minute one key, worker, staff member or address may make.

Counted in Redis with a sliding window before any transaction is opened. A Redis that is away must not stop work: the
request is let through, that is logged and counted, and Redis is left alone for a moment so that requests do not each
pay its time-out.
"""

import time
from dataclasses import dataclass
from functools import lru_cache

from limits import RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import RedisError

from api import answers
from api.answers import AnyRequest
from infra import telemetry
from infra.errors import Exhausted
from infra.queue import SILENCE
from infra.settings import settings

_log = telemetry.log(__name__)
_silent_until = 0.0


class TooManyRequests(Exhausted):
    """Too many requests."""


@dataclass(frozen=True)
class Bucket:
    """Who is counted (never a secret in clear) and how many requests a minute are allowed."""

    name: str
    per_minute: int


def of_address(request: AnyRequest) -> Bucket:
    """The bucket of those who have not shown who they are. Behind a proxy uvicorn puts the real address here."""
    host = request.client.host if request.client else "unknown"
    return Bucket(f"address:{host}", settings().anonymous_requests_per_minute)


def take(request: AnyRequest, bucket: Bucket) -> None:
    """
    Count one request, and say in the answer's headers what is left.

    The three `RateLimit-*` fields are those in common use (draft-ietf-httpapi-ratelimit-headers-06), `RateLimit-Policy` is
    written as in later drafts.

    :raises TooManyRequests: says after how many seconds to come back
    """
    global _silent_until
    if time.monotonic() < _silent_until:
        telemetry.UNLIMITED.inc()
        return
    item = RateLimitItemPerMinute(bucket.per_minute)
    try:
        limiter = _limiter(settings().redis_url)
        allowed = limiter.hit(item, bucket.name)
        left = limiter.get_window_stats(item, bucket.name)
    except RedisError as error:
        _silent_until = time.monotonic() + SILENCE
        telemetry.UNLIMITED.inc()
        _log.warning("rate limit not counted, request let through", error=type(error).__name__)
        return
    wait = max(1, round(left.reset_time - time.time()))
    answers.add_headers(
        request,
        {
            "RateLimit-Limit": str(bucket.per_minute),
            "RateLimit-Remaining": str(left.remaining if allowed else 0),
            "RateLimit-Reset": str(wait),
            "RateLimit-Policy": f'"default";q={bucket.per_minute};w=60',
        },
    )
    if not allowed:
        raise TooManyRequests(
            f"At most {bucket.per_minute} requests a minute. Try again in {wait} seconds.",
            limit=bucket.per_minute,
            retry_after=wait,
        )


@lru_cache(maxsize=4)
def _limiter(url: str) -> SlidingWindowCounterRateLimiter:
    storage = RedisStorage(url, socket_connect_timeout=0.3, socket_timeout=0.5, key_prefix="footwork:limits")
    return SlidingWindowCounterRateLimiter(storage)
