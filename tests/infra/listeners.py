"""Background functions for the tests of the queue, run by real workers. Each tells Redis what it heard."""

import os
import time
from uuid import UUID

from redis import Redis

from infra import db
from infra.settings import settings

HEARD = "test:heard"
HORSE = "test:horse"


def hear(event_id: UUID) -> None:
    assert not db.in_transaction()
    _tell("hear", event_id)


def fail(event_id: UUID) -> None:
    raise LookupError("there is no such street")


def eat_memory_once(event_id: UUID) -> None:
    if _tell("eat_memory", event_id) == 1:
        hoard = bytearray(settings().call_memory_mb * 1024 * 1024)
        raise AssertionError(f"the limit let {len(hoard)} bytes pass")


def crash_once(event_id: UUID) -> None:
    """Like a decoder that a hostile file blew up: no exception, no last word."""
    if _tell("crash", event_id) == 1:
        os.abort()


def hang(event_id: UUID) -> None:
    with Redis.from_url(settings().redis_url) as client:
        client.set(HORSE, os.getpid())
    time.sleep(600)


def _tell(what: str, event_id: UUID) -> int:
    """How often this was heard for this event, this time included."""
    with Redis.from_url(settings().redis_url) as client:
        return int(client.hincrby(HEARD, f"{what}:{event_id}", 1))
