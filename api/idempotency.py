"""
`Idempotency-Key`: a buyer's POST that is sent twice happens once.

The key's row is written in the same transaction as the effect, so both stand or neither does. A twin that comes while the
first still runs waits on the row's unique index, then gets the first one's answer. Refusals are not kept: they changed
nothing, and the same key may be tried again. Bodies are kept sealed, since some answers show a secret once.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from api.answers import Answer, AnyRequest
from api.models import IdempotentAnswer
from infra import crypto
from infra.errors import Conflict, Invalid
from infra.settings import settings

HEADER = "Idempotency-Key"
PATIENCE = timedelta(seconds=5)  # how long a twin waits for the first
CLAIM = timedelta(seconds=60)  # how long a function that runs outside a transaction may take

_ALLOWED = re.compile(r"[\x21-\x7e]{1,255}")
_LOCK_NOT_AVAILABLE = "55P03"


class BadIdempotencyKey(Invalid):
    """This Idempotency-Key cannot be used."""


class KeyUsedForAnother(Conflict):
    """This Idempotency-Key was used for another request."""


class StillRunning(Conflict):
    """The first request with this Idempotency-Key is still running."""


@dataclass(frozen=True)
class Key:
    """The key of one organization, and what it was sent with."""

    organization_id: UUID
    key: str
    fingerprint: bytes


def key_of(request: AnyRequest, body: bytes, *, organization_id: UUID, key_id: UUID) -> Key | None:
    """
    The request's key, None if it has none. Method, path, query, body and the API key make its fingerprint: an answer may
    show a secret, which another key of the organization, perhaps a lesser one, must not read.

    :raises BadIdempotencyKey: not 1 to 255 visible ASCII characters
    """
    key = request.headers.get(HEADER.lower())
    if key is None:
        return None
    if not _ALLOWED.fullmatch(key):
        raise BadIdempotencyKey("Use 1 to 255 visible ASCII characters, for example a UUID.", limit=255)
    parts = (request.method, request.url.path, request.url.query, body, key_id.bytes)
    return Key(organization_id, key, crypto.sha256(crypto.frame("fw.idempotency.v1", *parts)))


def begin(session: Session, key: Key, *, now: datetime) -> Answer | None:
    """
    Take the key, or give the answer it already has.

    :raises KeyUsedForAnother: the earlier request was a different one
    :raises StillRunning: the earlier request has not finished yet
    """
    if _take(session, key, now):
        return None
    row = session.get_one(IdempotentAnswer, (key.organization_id, key.key))
    if not crypto.same(row.fingerprint, key.fingerprint):
        raise KeyUsedForAnother("Its API key, method, path or body differ. Use a fresh key for a new request.")
    if row.status is None:
        raise StillRunning("Ask again in a moment.", retry_after=2)
    answer = Answer(row.status, crypto.unseal(row.sealed_body), row.media_type, dict(row.headers))
    return answer.with_headers(Idempotent_Replay="true")


def finish(session: Session, key: Key, answer: Answer) -> None:
    """Keep the answer for whoever sends the same again."""
    session.execute(
        update(IdempotentAnswer)
        .where(IdempotentAnswer.organization_id == key.organization_id, IdempotentAnswer.key == key.key)
        .values(
            status=answer.status,
            sealed_body=crypto.seal(answer.body),
            media_type=answer.media_type,
            headers=answer.headers,
        )
    )


def forget(session: Session, key: Key) -> None:
    """The request was refused or failed outside a transaction: its key is free again."""
    session.execute(
        delete(IdempotentAnswer).where(
            IdempotentAnswer.organization_id == key.organization_id,
            IdempotentAnswer.key == key.key,
            IdempotentAnswer.status.is_(None),
        )
    )


def forget_expired(session: Session, *, now: datetime) -> int:
    """Delete what nobody may ask for any more. Returns how many."""
    gone = session.execute(
        delete(IdempotentAnswer).where(IdempotentAnswer.expires_at <= now).returning(IdempotentAnswer.key)
    )
    return len(gone.all())


def _take(session: Session, key: Key, now: datetime) -> bool:
    """
    Insert the row; a row that has expired, or was claimed and abandoned, is taken over.

    Of two racers the second waits here on the primary key until the first commits (then it gets nothing) or rolls back
    (then it gets the row).
    """
    fresh: dict[str, Any] = {
        "fingerprint": key.fingerprint,
        "status": None,
        "headers": {},
        "media_type": "",
        "sealed_body": b"",
        "claimed_until": now + CLAIM,
        "expires_at": now + timedelta(hours=settings().idempotency_hours),
    }
    stale = or_(
        IdempotentAnswer.expires_at <= now,
        IdempotentAnswer.status.is_(None) & (IdempotentAnswer.claimed_until <= now),
    )
    statement = (
        insert(IdempotentAnswer)
        .values(organization_id=key.organization_id, key=key.key, **fresh)
        .on_conflict_do_update(index_elements=["organization_id", "key"], set_=fresh, where=stale)
        .returning(IdempotentAnswer.key)
    )
    session.execute(select(func.set_config("lock_timeout", f"{PATIENCE // timedelta(milliseconds=1)}ms", True)))
    try:
        taken = session.execute(statement).first() is not None
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise StillRunning("Ask again in a moment.", retry_after=2) from None
        raise
    session.execute(text("SET LOCAL lock_timeout = DEFAULT"))
    return taken
