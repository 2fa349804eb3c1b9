"""
Rate limits: how many requests a minute one key, worker, staff member or address may make.

Counted in Redis with a sliding window before any transaction is opened. A Redis that is away must not stop work: the
request is let through, that is logged and counted, and Redis is left alone for a moment so that requests do not each
pay its time-out.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import TypeVar

from limits import RateLimitItem, RateLimitItemPerMinute, WindowStats
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import RedisError

from api import answers
from api.answers import AnyRequest
from infra import telemetry
from infra.errors import Exhausted
from infra.queue import SILENCE
from infra.settings import settings

T = TypeVar("T")

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
    return Bucket(f"address:{_network(request)}", settings().anonymous_requests_per_minute)


def of_passwords(request: AnyRequest) -> Bucket:
    """Of those who try passwords: a quarter of what strangers may otherwise do, since each check is costly on purpose."""
    return Bucket(f"passwords:{_network(request)}", max(1, settings().anonymous_requests_per_minute // 4))


def of_guesses(request: AnyRequest) -> Bucket:
    """Of those whose key or session token was well-formed and wrong. Apart from `of_address`, which neighbours share."""
    return Bucket(f"guesses:{_network(request)}", settings().anonymous_requests_per_minute)


def take(request: AnyRequest, bucket: Bucket) -> None:
    """
    Count one request, and say in the answer's headers what is left.

    :raises TooManyRequests: says after how many seconds to come back
    """
    allowed = _asked(bucket, SlidingWindowCounterRateLimiter.hit)
    left = _asked(bucket, SlidingWindowCounterRateLimiter.get_window_stats)
    if allowed is None or left is None:
        telemetry.UNLIMITED.inc()
        return
    _tell(request, bucket, left if allowed else WindowStats(left.reset_time, 0))
    if not allowed:
        raise _too_many(bucket, left)


def check(request: AnyRequest, bucket: Bucket) -> None:
    """
    Refuse as `take` would, and count nothing.

    :raises TooManyRequests: says after how many seconds to come back
    """
    if _asked(bucket, SlidingWindowCounterRateLimiter.test) is False:
        left = _asked(bucket, SlidingWindowCounterRateLimiter.get_window_stats)
        if left is not None:
            _tell(request, bucket, WindowStats(left.reset_time, 0))
            raise _too_many(bucket, left)


def _asked(bucket: Bucket, question: Callable[[SlidingWindowCounterRateLimiter, RateLimitItem, str], T]) -> T | None:
    """Redis' answer, None while it is away."""
    global _silent_until
    if time.monotonic() < _silent_until:
        return None
    try:
        return question(_limiter(settings().redis_url), RateLimitItemPerMinute(bucket.per_minute), bucket.name)
    except RedisError as error:
        _silent_until = time.monotonic() + SILENCE
        _log.warning("rate limit not counted, request let through", error=type(error).__name__)
        return None


def _tell(request: AnyRequest, bucket: Bucket, left: WindowStats) -> None:
    """
    The three `RateLimit-*` fields are those in common use (draft-ietf-httpapi-ratelimit-headers-06), `RateLimit-Policy` is
    written as in later drafts.
    """
    answers.add_headers(
        request,
        {
            "RateLimit-Limit": str(bucket.per_minute),
            "RateLimit-Remaining": str(left.remaining),
            "RateLimit-Reset": str(_wait(left)),
            "RateLimit-Policy": f'"default";q={bucket.per_minute};w=60',
        },
    )


def _too_many(bucket: Bucket, left: WindowStats) -> TooManyRequests:
    wait = _wait(left)
    return TooManyRequests(
        f"At most {bucket.per_minute} requests a minute. Try again in {wait} seconds.",
        limit=bucket.per_minute,
        retry_after=wait,
    )


def _wait(left: WindowStats) -> int:
    return max(1, round(left.reset_time - time.time()))


def _network(request: AnyRequest) -> str:
    """The caller's address; of IPv6 the /64 that one customer has whole (RFC 6177)."""
    host = request.client.host if request.client else "unknown"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


@lru_cache(maxsize=4)
def _limiter(url: str) -> SlidingWindowCounterRateLimiter:
    storage = RedisStorage(url, socket_connect_timeout=0.3, socket_timeout=0.5, key_prefix="footwork:limits")
    return SlidingWindowCounterRateLimiter(storage)
