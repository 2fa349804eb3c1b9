"""
Worker sessions: a short access token, and refresh tokens that rotate.

Neither kind is stored. The access token is a JWT (RFC 7519, HS256). A refresh token is the session's id and a generation
number under our MAC: only the newest generation is good, and using an older one means that somebody copied it, so the whole
session ends (RFC 9700, 4.14.2).
"""

import base64
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from sqlalchemy import update
from sqlalchemy.orm import Session

from api.auth.models import WorkerSession
from infra import crypto, ids
from infra.errors import Unauthorized
from infra.settings import settings

AUDIENCE = "footwork:worker"
ALGORITHM = "HS256"
_REFRESH = "fwr_"
_LAYOUT = struct.Struct(">16sQ32s")  # session, generation, MAC


class BadAccessToken(Unauthorized):
    """This access token is not valid."""


class BadRefreshToken(Unauthorized):
    """This refresh token is not valid."""


class SessionEnded(Unauthorized):
    """This sign-in has ended."""


@dataclass(frozen=True)
class Claims:
    """What an access token says."""

    worker_id: UUID
    session_id: UUID
    expires_at: datetime


@dataclass(frozen=True)
class Tokens:
    """A pair of tokens; `seconds` is the life of the access token."""

    access: str
    refresh: str
    seconds: int


def open(
    session: Session,
    *,
    worker_id: UUID,
    install_id: str,
    platform: str,
    model: str | None,
    device_key_id: UUID | None,
    now: datetime,
) -> tuple[WorkerSession, Tokens]:
    """Sign a worker in on one installation. An earlier sign-in of the same worker there ends."""
    session.execute(
        update(WorkerSession)
        .where(
            WorkerSession.worker_id == worker_id,
            WorkerSession.install_id == install_id,
            WorkerSession.ended_at.is_(None),
        )
        .values(ended_at=now, ended_because="signed in again")
    )
    here = WorkerSession(
        id=ids.new(),
        worker_id=worker_id,
        install_id=install_id,
        platform=platform,
        model=model,
        device_key_id=device_key_id,
        generation=1,
        created_at=now,
        refreshed_at=now,
        expires_at=now + timedelta(days=settings().refresh_token_days),
    )
    session.add(here)
    session.flush()
    return here, _tokens(here, now)


def refresh(session: Session, token: str, *, install_id: str, now: datetime) -> Tokens | None:
    """
    The next pair of tokens. None when the token was copied (an older generation, or another installation): then the
    session has been ended, and the caller must commit before refusing.

    :raises BadRefreshToken: not one of ours, ended or expired
    """
    id, generation = _read_refresh_token(token)
    # The generation in the WHERE is the lock: of two racers with the same token one gets the row.
    next_row = session.execute(
        update(WorkerSession)
        .where(
            WorkerSession.id == id,
            WorkerSession.generation == generation,
            WorkerSession.install_id == install_id,
            WorkerSession.ended_at.is_(None),
            WorkerSession.expires_at > now,
        )
        .values(
            generation=generation + 1,
            refreshed_at=now,
            expires_at=now + timedelta(days=settings().refresh_token_days),
        )
        .returning(WorkerSession)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if next_row is not None:
        return _tokens(next_row, now)
    present = session.get(WorkerSession, id)
    if present is None or present.ended_at is not None or present.expires_at <= now:
        raise BadRefreshToken("This sign-in has ended. Sign in again with a code.")
    end(session, id, because="a refresh token was used twice or elsewhere", now=now)
    return None


def end(session: Session, id: UUID, *, because: str, now: datetime) -> None:
    """Sign out: no token of this session is good any more."""
    session.execute(
        update(WorkerSession)
        .where(WorkerSession.id == id, WorkerSession.ended_at.is_(None))
        .values(ended_at=now, ended_because=because)
    )


def current(session: Session, claims: Claims, *, now: datetime) -> WorkerSession:
    """
    The session an access token belongs to.

    :raises SessionEnded: expired, signed out, or ended because a token was copied
    """
    if claims.expires_at <= now:
        raise SessionEnded("The access token has expired. Get a new one with the refresh token.")
    here = session.get(WorkerSession, claims.session_id)
    if here is None or here.ended_at is not None:
        raise SessionEnded("Sign in again with a code.")
    return here


def read_access_token(token: str) -> Claims:
    """
    What the token says, if we signed it. Expiry is left to `current`, which knows the time.

    :raises BadAccessToken: not signed by us, or for another purpose
    """
    options: Any = {"require": ["sub", "sid", "exp", "aud"], "verify_exp": False, "verify_iat": False}
    try:
        claims = jwt.decode(token, _signing_key(), algorithms=[ALGORITHM], audience=AUDIENCE, options=options)
        return Claims(
            worker_id=UUID(claims["sub"]),
            session_id=UUID(claims["sid"]),
            expires_at=datetime.fromtimestamp(claims["exp"], tz=UTC),
        )
    except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError):
        raise BadAccessToken("Sign in, or get a new one with the refresh token.") from None


def _tokens(here: WorkerSession, now: datetime) -> Tokens:
    life = timedelta(minutes=settings().access_token_minutes)
    claims = {"sub": str(here.worker_id), "sid": str(here.id), "aud": AUDIENCE, "iat": now, "exp": now + life}
    access = jwt.encode(claims, _signing_key(), algorithm=ALGORITHM)
    return Tokens(access, _refresh_token(here.id, here.generation), int(life.total_seconds()))


def _signing_key() -> bytes:
    return crypto.mac("fw.access-token-key.v1")


def _refresh_token(id: UUID, generation: int) -> str:
    packed = _LAYOUT.pack(id.bytes, generation, crypto.mac("fw.refresh.v1", id.bytes, generation))
    return _REFRESH + base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _read_refresh_token(token: str) -> tuple[UUID, int]:
    try:
        text = token.removeprefix(_REFRESH).encode("ascii")
        raw, generation, mac = _LAYOUT.unpack(
            base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        )
    except (ValueError, struct.error):
        raise BadRefreshToken("It is not one of ours.") from None
    if not token.startswith(_REFRESH) or not crypto.same(mac, crypto.mac("fw.refresh.v1", raw, generation)):
        raise BadRefreshToken("It is not one of ours.")
    return UUID(bytes=raw), generation
