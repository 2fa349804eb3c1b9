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
PER_HOUR = 5  # codes for one address; with TRIES of a million each, guessing one takes years

REQUESTED = "worker.code_requested"


class WrongCode(Unauthorized):
    """This code is not valid."""


def request(session: Session, *, email: str, now: datetime) -> None:
    """
    Have a code mailed. Too many within the hour: nothing is sent, and nobody is told, since the caller is a stranger.
    """
    email = email.lower()
    lately = select(func.count()).where(LoginCode.email == email, LoginCode.created_at > now - timedelta(hours=1))
    if session.scalars(lately).one() >= PER_HOUR:
        return
    code = LoginCode(
        id=ids.new(),
        email=email,
        attempts=0,
        created_at=now,
        expires_at=now + timedelta(minutes=settings().login_code_minutes),
    )
    session.add(code)
    session.flush()
    outbox.record(session, REQUESTED, subject=ids.show("cod", code.id))


def take(session: Session, *, email: str, digits: str, now: datetime) -> bool:
    """
    Whether these are the digits of the newest code for the address; if so the code is used up. A wrong try is counted:
    commit in any case.
    """
    code = session.scalars(
        select(LoginCode)
        .where(LoginCode.email == email.lower())
        .order_by(LoginCode.id.desc())
        .limit(1)
        .with_for_update()
    ).one_or_none()
    if code is None or code.used_at is not None or code.expires_at <= now or code.attempts >= TRIES:
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
