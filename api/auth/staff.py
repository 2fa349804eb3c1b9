"""
Staff: password (argon2id) and a one-time code of an authenticator app (TOTP, RFC 6238), both or nothing.

A code counts once. Every try is counted before it is checked, so that many tries at the same moment do not slip past; after
five failures the account rests, longer each time.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import Session

from api.auth.models import StaffMember, StaffSession
from infra import crypto, ids
from infra.errors import Conflict, Invalid, NotFound, Unauthorized, Unavailable
from infra.settings import settings

ROLES = ("reviewer", "operator", "admin")
TRIES = 5
LONGEST_REST = timedelta(hours=1)
STEP = 30  # seconds, RFC 6238
DRIFT = 1  # steps a phone's clock may be off
PASSWORD_LENGTH = (12, 200)

CHECKS_AT_ONCE = 2  # each takes 64 MiB; forty at once took more than a gigabyte
PATIENCE = 3.0  # seconds one waits for its turn, on a thread of the pool

_checks = threading.BoundedSemaphore(CHECKS_AT_ONCE)
_TOKEN = re.compile(r"fws_[A-Za-z0-9_-]{43}")
_hasher = PasswordHasher()  # argon2id with the library's defaults (RFC 9106, second recommended option)


class WrongSignIn(Unauthorized):
    """E-mail, password or code is wrong."""


class BadStaffSession(Unauthorized):
    """This session is not valid."""


class TooManySignIns(Unavailable):
    """Too many sign in at the same moment."""


class NoSuchRole(Invalid):
    """There is no such role."""


class WeakPassword(Invalid):
    """This password is too short."""


class NoSuchStaff(NotFound):
    """Nobody on the staff has this address."""


class AlreadyStaff(Conflict):
    """This address is on the staff already."""


@dataclass(frozen=True)
class Try:
    """A counted try to sign in: whose, if anybody's, and the hash to check the password against."""

    staff_id: UUID | None
    password_hash: str


def known_role(role: str) -> str:
    """
    The role.

    :raises NoSuchRole: not one of ours
    """
    if role not in ROLES:
        raise NoSuchRole(f"Choose from {', '.join(ROLES)}.")
    return role


def add(session: Session, email: str, password: str, role: str, *, now: datetime, secret: str | None = None) -> str:
    """
    Put a person on the staff. Gives the `otpauth://` address for their authenticator app, shown only now.

    :param secret: the TOTP secret in base 32, made if not given
    :raises NoSuchRole: not one of ours
    :raises WeakPassword: shorter than 12 characters
    :raises AlreadyStaff: the address is taken
    """
    known_role(role)
    email = email.strip().lower()
    _require_strong(password)
    if exists(session, email):
        raise AlreadyStaff(email)
    secret = secret or pyotp.random_base32()
    session.add(
        StaffMember(
            id=ids.new(),
            email=email,
            role=role,
            password_hash=_hasher.hash(password),
            totp_sealed=crypto.seal(secret.encode()),
            totp_step=0,
            failures=0,
            created_at=now,
        )
    )
    session.flush()
    return _uri(email, secret)


def exists(session: Session, email: str) -> bool:
    """Whether this address is on the staff."""
    return session.scalar(select(StaffMember.id).where(StaffMember.email == email.strip().lower())) is not None


@contextmanager
def turn() -> Iterator[None]:
    """
    One of the few places for a try, taken before it is counted: whoever comes in vain has not failed.

    :raises TooManySignIns: no place came free in time
    """
    if not _checks.acquire(timeout=PATIENCE):
        raise TooManySignIns("Nothing was tried. Try again in a moment.", retry_after=2)
    try:
        yield
    finally:
        _checks.release()


def begin_try(session: Session, *, email: str, now: datetime) -> Try:
    """
    Count one try before it is checked. An unknown or resting account gets a hash that nothing fits, so that the answer
    takes as long.
    """
    rest = func.least(
        timedelta(minutes=1) * func.power(2, func.least(StaffMember.failures + 1 - TRIES, 10)), LONGEST_REST
    )
    row = session.execute(
        update(StaffMember)
        .where(
            func.lower(StaffMember.email) == email.strip().lower(),
            StaffMember.disabled_at.is_(None),
            or_(StaffMember.locked_until.is_(None), StaffMember.locked_until <= now),
        )
        .values(
            failures=StaffMember.failures + 1,
            locked_until=case((StaffMember.failures + 1 >= TRIES, now + rest), else_=None),
        )
        .returning(StaffMember.id, StaffMember.password_hash)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return Try(row.id, row.password_hash) if row else Try(None, _nobodys_hash())


def fits(attempt: Try, password: str) -> bool:
    """
    Whether the password is right. Takes tens of milliseconds and 64 MiB on purpose: call it in a `turn`, outside a
    transaction.
    """
    try:
        _hasher.verify(attempt.password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
    return attempt.staff_id is not None


def open(session: Session, attempt: Try, *, totp: str, now: datetime) -> tuple[str, StaffSession] | None:
    """
    The session's token, once the password is right: None unless the TOTP code is right and was not used before.
    """
    member = session.get_one(StaffMember, attempt.staff_id, with_for_update=True)
    step = _step_of(crypto.unseal(member.totp_sealed).decode(), totp, now)
    if step is None or step <= member.totp_step:
        return None
    member.totp_step, member.failures, member.locked_until = step, 0, None
    token = f"fws_{crypto.token()}"
    here = StaffSession(
        id=ids.new(),
        staff_id=member.id,
        token_hash=crypto.hash_secret(token),
        created_at=now,
        expires_at=now + timedelta(hours=settings().staff_session_hours),
        member=member,
    )
    session.add(here)
    session.flush()
    return token, here


def well_formed(token: str) -> str:
    """
    The token, if it could be one of ours: to be asked before any look-up.

    :raises BadStaffSession: it never was one
    """
    if not _TOKEN.fullmatch(token):
        raise BadStaffSession("This is no session token. Sign in.")
    return token


def current(session: Session, token: str, *, now: datetime) -> tuple[StaffSession, StaffMember]:
    """
    The session with this token and whose it is.

    :raises BadStaffSession: unknown, expired, signed out, or the person was disabled
    """
    here = session.scalars(
        select(StaffSession).where(StaffSession.token_hash == crypto.hash_secret(token))
    ).one_or_none()
    if here is None or here.ended_at is not None or here.expires_at <= now or here.member.disabled_at is not None:
        raise BadStaffSession("Sign in again.")
    return here, here.member


def end(session: Session, id: UUID, *, now: datetime) -> None:
    """Sign out."""
    session.execute(
        update(StaffSession).where(StaffSession.id == id, StaffSession.ended_at.is_(None)).values(ended_at=now)
    )


def disable(session: Session, email: str, *, now: datetime) -> None:
    """
    They cannot sign in any more, and are signed out everywhere. `reset` lets them in again.

    :raises NoSuchStaff: unknown address
    """
    member = _member(session, email)
    member.disabled_at = member.disabled_at or now
    _end_all(session, member, now)


def reset(session: Session, email: str, password: str, *, now: datetime) -> str:
    """
    Another password and another authenticator, for somebody who lost theirs, rests after failures or was disabled. Signs
    them out everywhere. Gives the new `otpauth://` address, shown only now.

    :raises NoSuchStaff: unknown address
    :raises WeakPassword: shorter than 12 characters
    """
    _require_strong(password)
    member = _member(session, email)
    secret = pyotp.random_base32()
    member.password_hash, member.totp_sealed = _hasher.hash(password), crypto.seal(secret.encode())
    member.totp_step, member.failures, member.locked_until, member.disabled_at = 0, 0, None, None
    _end_all(session, member, now)
    return _uri(member.email, secret)


def _member(session: Session, email: str) -> StaffMember:
    wanted = select(StaffMember).where(func.lower(StaffMember.email) == email.strip().lower())
    member = session.scalars(wanted.with_for_update()).one_or_none()
    if member is None:
        raise NoSuchStaff(email)
    return member


def _end_all(session: Session, member: StaffMember, now: datetime) -> None:
    theirs = update(StaffSession).where(StaffSession.staff_id == member.id, StaffSession.ended_at.is_(None))
    session.execute(theirs.values(ended_at=now))
    session.flush()


def _require_strong(password: str) -> None:
    if not PASSWORD_LENGTH[0] <= len(password) <= PASSWORD_LENGTH[1]:
        raise WeakPassword("Use 12 to 200 characters.", limit=PASSWORD_LENGTH[0])


def _uri(email: str, secret: str) -> str:
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name="Footwork")


def _step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step whose code this is, among the present one and its neighbours."""
    totp = pyotp.TOTP(secret, interval=STEP)
    present = int(now.timestamp()) // STEP
    matching = [
        step
        for step in range(present - DRIFT, present + DRIFT + 1)
        if crypto.same(totp.generate_otp(step).encode(), code.encode())
    ]
    return max(matching, default=None)


@lru_cache(maxsize=1)
def _nobodys_hash() -> str:
    return _hasher.hash(crypto.token())
