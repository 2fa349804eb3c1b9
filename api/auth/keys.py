"""API keys of buyers: shown once, stored hashed, limited by scopes, rotated with an overlap."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal, cast
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from api.auth.models import ApiKey
from infra import crypto, db, ids, telemetry
from infra.errors import Invalid, NotFound, Unauthorized

Mode = Literal["live", "test"]

OVERLAP = timedelta(hours=24)
USE_NOTED_EVERY = timedelta(minutes=1)
SCOPES = frozenset(
    f"{thing}:{act}"
    for thing in ("organization", "jobs", "submissions", "wallet", "keys", "webhooks", "events", "disputes")
    for act in ("read", "write")
)

_FORM = re.compile(r"fw_(live|test)_[A-Za-z0-9_-]{43}")
_log = telemetry.log(__name__)


class BadApiKey(Unauthorized):
    """This API key is not valid."""


class NoSuchKey(NotFound):
    """There is no such key."""


class UnknownScope(Invalid):
    """There is no such scope."""


def known_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """
    The scopes as a set.

    :raises UnknownScope: names those that do not exist
    """
    wanted = frozenset(scopes)
    if unknown := sorted(wanted - SCOPES):
        raise UnknownScope(f"Not a scope: {', '.join(unknown)}. Choose from {', '.join(sorted(SCOPES))}.")
    return wanted


def issue(
    session: Session, organization_id: UUID, name: str, scopes: Iterable[str], mode: Mode, now: datetime
) -> tuple[ApiKey, str]:
    """
    A new key and its secret, which is never seen again.

    :raises UnknownScope: a scope does not exist
    """
    secret = _secret(mode)
    key = ApiKey(
        id=ids.new(),
        organization_id=organization_id,
        name=name,
        mode=mode,
        scopes=sorted(known_scopes(scopes)),
        secret_hash=crypto.hash_secret(secret),
        hint=_hint(secret),
        created_at=now,
    )
    session.add(key)
    session.flush()
    return key, secret


def well_formed(secret: str) -> str:
    """
    The secret, if it could be one of ours: to be asked before any look-up.

    :raises BadApiKey: it never was one
    """
    if not _FORM.fullmatch(secret):
        raise BadApiKey("An API key is fw_live_ or fw_test_ and 43 more characters.")
    return secret


def find(session: Session, secret: str, *, now: datetime) -> ApiKey:
    """
    The key with this secret.

    The look-up is by keyed hash, so its timing tells nothing about the secret.

    :raises BadApiKey: unknown, revoked, or rotated longer ago than the overlap
    """
    hashed = crypto.hash_secret(secret)
    key = session.scalars(
        select(ApiKey).where(or_(ApiKey.secret_hash == hashed, ApiKey.previous_hash == hashed))
    ).one_or_none()
    if key is None or key.revoked_at is not None:
        raise BadApiKey("It is unknown or was revoked.")
    if key.previous_hash == hashed and (key.previous_until is None or key.previous_until <= now):
        raise BadApiKey("It was rotated and its overlap is over. Use the new secret.")
    return key


def note_use(session: Session, key: ApiKey, *, now: datetime) -> None:
    """
    Remember when the key was last used, to the minute.

    After the commit and in a transaction of its own: requests of one key must not wait for each other's row lock.
    """
    if key.last_used_at is not None and now - key.last_used_at < USE_NOTED_EVERY:
        return
    id = key.id

    def note() -> None:
        stale = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= now - USE_NOTED_EVERY)
        try:
            with db.transaction() as fresh:
                fresh.execute(update(ApiKey).where(ApiKey.id == id, stale).values(last_used_at=now))
        except SQLAlchemyError as error:  # the request itself has committed and must be answered
            _log.warning("use of a key not noted", error=type(error).__name__)

    db.after_commit(session, note)


def rotate(session: Session, key: ApiKey, *, now: datetime) -> str:
    """A new secret; the present one stays good for 24 hours more, the one before it stops at once."""
    secret = _secret(mode_of(key))
    key.previous_hash, key.previous_until = key.secret_hash, now + OVERLAP
    key.secret_hash, key.hint, key.rotated_at = crypto.hash_secret(secret), _hint(secret), now
    session.flush()
    return secret


def revoke(key: ApiKey, *, now: datetime) -> None:
    """From now on neither of its secrets is good."""
    key.revoked_at = key.revoked_at or now


def of(session: Session, organization_id: UUID, id: UUID, *, lock: bool = False) -> ApiKey:
    """
    A key of this organization that is not revoked.

    :raises NoSuchKey: there is none
    """
    key = session.get(ApiKey, id, with_for_update=lock or None)
    if key is None or key.organization_id != organization_id or key.revoked_at is not None:
        raise NoSuchKey("It may have been revoked.")
    return key


def anybodys(session: Session, id: UUID) -> ApiKey:
    """
    The key, locked, whosever it is and whether or not it is revoked. For operators.

    :raises NoSuchKey: there is none
    """
    key = session.get(ApiKey, id, with_for_update=True)
    if key is None:
        raise NoSuchKey(ids.show("key", id))
    return key


def mode_of(key: ApiKey) -> Mode:
    """Whether the key moves real money."""
    return cast(Mode, key.mode)


def _secret(mode: Mode) -> str:
    return f"fw_{mode}_{crypto.token()}"


def _hint(secret: str) -> str:
    """Enough to tell keys apart in a list."""
    return "…" + secret[-4:]
