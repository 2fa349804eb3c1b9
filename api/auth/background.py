"""What sign-in does behind the scenes: mail codes, forget what has expired."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete

from api import idempotency
from api.auth import codes
from api.auth.models import LoginCode, StaffSession, WorkerSession
from infra import clock, db, ids, mail, outbox
from infra.settings import settings

KEEP = timedelta(days=30)  # ended sessions, for questions about who was signed in


def send_code(event_id: UUID) -> None:
    """Mail a one-time code. Runs twice at worst, which mails it twice."""
    with db.transaction() as session:
        code = session.get(LoginCode, ids.read("cod", outbox.event(session, event_id).subject))
        if code is None or code.sent_at is not None or code.used_at is not None or code.expires_at <= clock.now():
            return
        to, digits = code.email, codes.digits_of(code)
    minutes = settings().login_code_minutes
    mail.send(
        to=to,
        subject=f"{digits} is your Footwork code",
        text=(
            f"Your code: {digits}\n\nType it into the app within {minutes} minutes. It works once.\n"
            "If you did not ask for it, ignore this mail: nobody can sign in without the code.\n"
        ),
    )
    with db.transaction() as session:
        sent = session.get(LoginCode, code.id)
        if sent is not None:
            sent.sent_at = clock.now()


def forget_expired() -> None:
    """Delete codes, sessions and idempotent answers that nobody may use any more. For the clock, hourly."""
    now = clock.now()
    with db.transaction() as session:
        session.execute(delete(LoginCode).where(LoginCode.expires_at <= now - timedelta(hours=1)))
        session.execute(delete(WorkerSession).where(WorkerSession.expires_at <= now - KEEP))
        session.execute(delete(StaffSession).where(StaffSession.expires_at <= now - KEEP))
        idempotency.forget_expired(session, now=now)
