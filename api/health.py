"""
Whether this process lives, whether it should get requests, and its figures.

All three are open to whoever reaches the port and tell nothing about people or buyers. `/metrics` is meant for the scraper
inside: the public proxy should pass on `/v1`, `/docs` and `/openapi.json` only.
"""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Literal

import httpx
from alembic.script import ScriptDirectory
from litestar import Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from pydantic import Field
from redis import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api import answers, checks
from api.auth.callers import Anyone
from api.edge import get
from api.schemas import Model
from infra import db, migrations, outbox, queue, telemetry
from infra.settings import settings
from quality import reviews

STORAGE_SECONDS = 1.0
FRESH_SECONDS = 2.0  # how long what was found is told again, however many ask

BACKLOG = Gauge("footwork_calls", "Background calls that wait or were given up", ["state"])
REVIEWS = Gauge("footwork_open_reviews", "Reviews that wait for a human")
VIOLATIONS = Gauge("footwork_book_violations", "Rules of the books that did not hold at the last check")
CHECKED = Gauge("footwork_books_checked_timestamp_seconds", "When the books were last checked")
_log = telemetry.log(__name__)


class Live(Model):
    status: Literal["live"] = "live"


class Ready(Model):
    status: Annotated[
        Literal["ready", "degraded", "unready"],
        Field(description="degraded: works, with something missing that heals by itself later"),
    ]
    checks: dict[str, str]


@get("/health/live", who=Anyone(limited=False), summary="Is the process alive?", at_once=True)
def live() -> Live:
    """
    Yes, if this answers at all. Restart the process when it does not; one whose threads all wait for a database or storage that
    hangs does not need it.
    """
    return Live()


@get("/health/ready", who=Anyone(limited=False), summary="Should it get requests?")
def ready() -> Response[bytes]:
    """
    503 without the database or with a schema of another version. Without Redis or storage the API still works (bells are
    rung later, uploads wait), so that is only called degraded.
    """
    needed, helpful = _looked(int(time.monotonic() // FRESH_SECONDS))
    checks = {**needed, **helpful}
    if any(found != "ok" for found in needed.values()):
        status: Literal["ready", "degraded", "unready"] = "unready"
    else:
        status = "ready" if all(found == "ok" for found in helpful.values()) else "degraded"
    body = Ready(status=status, checks=checks).model_dump_json().encode()
    return Response(body, status_code=503 if status == "unready" else 200, media_type=answers.JSON)


@get("/metrics", who=Anyone(limited=False), summary="Figures for Prometheus")
def metrics() -> Response[bytes]:
    """In Prometheus' text format."""
    try:
        with db.transaction() as session:
            for state, count in outbox.backlog(session).items():
                BACKLOG.labels(state).set(count)
            REVIEWS.set(reviews.count_open(session))
            checked = outbox.latest(session, checks.BOOKS)
            if checked is not None:
                VIOLATIONS.set(checked.data["violations"])
                CHECKED.set(checked.created_at.timestamp())
    except SQLAlchemyError as error:
        _log.warning("figures not counted", error=type(error).__name__)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@lru_cache(maxsize=1)
def _looked(_: int) -> tuple[dict[str, str], dict[str, str]]:
    """What is needed and what is only helpful, looked at once for each number."""
    needed = {"database": _try(_database), "migrations": _try(_migrations)}
    helpful = {"redis": _try(_redis), "storage": _try(_storage)}
    return needed, helpful


def _try(check: Callable[[], None]) -> str:
    try:
        check()
    except _Wrong as error:
        return str(error)
    except (SQLAlchemyError, RedisError, httpx.HTTPError) as error:
        _log.warning("not healthy", check=check.__name__.lstrip("_"), error=type(error).__name__)
        return "away"
    return "ok"


class _Wrong(Exception):
    """Reachable, but not as it should be."""


def _database() -> None:
    with db.transaction() as session:
        session.execute(text("SELECT 1"))


def _migrations() -> None:
    with db.transaction() as session:
        present = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if present != _newest():
        raise _Wrong(f"the schema is at {present}, this program needs {_newest()}: run `footwork migrate`")


def _redis() -> None:
    queue.connection().ping()


def _storage() -> None:
    _client().head(settings().s3_endpoint)  # any answer will do: it is there


@lru_cache(maxsize=1)
def _client() -> httpx.Client:
    """One for all looks: a fresh one loads the certificates of the world, 100 ms each time."""
    return httpx.Client(timeout=STORAGE_SECONDS)


@lru_cache(maxsize=1)
def _newest() -> str | None:
    return ScriptDirectory.from_config(migrations.config(settings().database_url)).get_current_head()
