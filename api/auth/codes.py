"""
One-time codes: a worker proves that an e-mail address is theirs.

The code is six digits made from the request's id under the server's key, so it stands nowhere: not in the table, not in
the event, not in a log. The background function that mails it makes it again.
"""

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api.auth.models import LoginCode
from infra import crypto, ids, outbox
from infra.errors import Unauthorized
from infra.settings import settings

TRIES = 5
MAILED_EVERY = timedelta(seconds=30)  # one code, at most
PER_HOUR = 5  # new codes for one address; with TRIES of a million each, guessing one takes years

REQUESTED = "worker.code_requested"


class WrongCode(Unauthorized):
    """This code is not valid."""


def request(session: Session, *, email: str, now: datetime) -> None:
    """
    Have a code mailed: the live one again if there is one, so that strangers who ask for an address use up nothing of its
    owner's. Too many new ones within the hour, or asked again within seconds: nothing is sent, and nobody is told, since the
    caller is a stranger.
    """
    email = email.lower()
    expires_at = now + timedelta(minutes=settings().login_code_minutes)
    newest = _newest(session, email)
    if newest is not None and _is_live(newest, now) and newest.created_at > now - timedelta(hours=1):
        newest.expires_at = expires_at
        _mail_again(session, newest, now)
        return
    lately = select(func.count()).where(LoginCode.email == email, LoginCode.created_at > now - timedelta(hours=1))
    if session.scalars(lately).one() >= PER_HOUR:
        return
    code = LoginCode(id=ids.new(), email=email, attempts=0, created_at=now, expires_at=expires_at)
    session.add(code)
    session.flush()
    outbox.record(session, REQUESTED, subject=ids.show("cod", code.id))


def take(session: Session, *, email: str, digits: str, now: datetime) -> bool:
    """
    Whether these are the digits of the newest code for the address; if so the code is used up. A wrong try is counted:
    commit in any case.
    """
    code = _newest(session, email.lower())
    if code is None or not _is_live(code, now):
        return False
    code.attempts += 1
    if not crypto.same(digits.encode(), digits_of(code).encode()):
        session.flush()
        return False
    code.used_at = now
    session.flush()
    return True


def digits_of(code: LoginCode) -> str:
    """The six digits: 64 bits of a MAC modulo a million, a bias below 1 in 10^13."""
    return f"{int.from_bytes(crypto.mac('fw.login-code.v1', code.id.bytes)[:8]) % 1_000_000:06d}"


def _newest(session: Session, email: str) -> LoginCode | None:
    return session.scalars(
        select(LoginCode).where(LoginCode.email == email).order_by(LoginCode.id.desc()).limit(1).with_for_update()
    ).one_or_none()


def _is_live(code: LoginCode, now: datetime) -> bool:
    return code.used_at is None and code.expires_at > now and code.attempts < TRIES


def _mail_again(session: Session, code: LoginCode, now: datetime) -> None:
    subject = ids.show("cod", code.id)
    before = outbox.latest(session, subject)
    if before is None or before.created_at <= now - MAILED_EVERY:
        code.sent_at = None
        outbox.record(session, REQUESTED, subject=subject)
