"""What sign-in does behind the scenes: mail codes, forget what has expired."""

import smtplib
from datetime import timedelta
from uuid import UUID

from sqlalchemy import delete

from api import idempotency
from api.auth import codes
from api.auth.models import LoginCode, StaffSession, WorkerSession
from infra import clock, db, ids, mail, outbox, telemetry
from infra.settings import settings

KEEP = timedelta(days=30)  # ended sessions, for questions about who was signed in

_log = telemetry.log(__name__)


class NotMailed(RuntimeError):
    """The mail server did not take a mail this time. Says why without the address: this is kept and logged."""


def send_code(event_id: UUID) -> None:
    """
    Mail a one-time code. Runs twice at worst, which mails it twice. What the server refuses for good is not tried again.

    :raises NotMailed: try again
    """
    with db.transaction() as session:
        code = session.get(LoginCode, ids.read("cod", outbox.event(session, event_id).subject))
        if code is None or code.sent_at is not None or code.used_at is not None or code.expires_at <= clock.now():
            return
        to, digits = code.email, codes.digits_of(code)
    failure = _mail(to, digits)
    if failure is None:
        with db.transaction() as session:
            sent = session.get(LoginCode, code.id)
            if sent is not None:
                sent.sent_at = clock.now()
    elif _is_final(failure):
        _log.warning("code not mailed", code=ids.show("cod", code.id), error=_without_address(failure))
    else:  # raised outside the `except`, or the first error and the address in it would be logged along
        raise NotMailed(_without_address(failure))


def _mail(to: str, digits: str) -> OSError | ValueError | None:
    """What went wrong, None if nothing did."""
    try:
        mail.send(
            to=to,
            subject=f"{digits} is your Footwork code",
            text=(
                f"Your code: {digits}\n\nType it into the app within {settings().login_code_minutes} minutes. It works once.\n"
                "If you did not ask for it, ignore this mail: nobody can sign in without the code.\n"
            ),
        )
    except (OSError, ValueError) as error:  # ValueError: an address that no header or command can hold
        return error
    return None


def _is_final(error: OSError | ValueError) -> bool:
    """Whether trying again cannot help: 5xx of RFC 5321, 4.2.1, or nothing SMTP can carry. Our own password can be mended."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return False
    if isinstance(error, smtplib.SMTPRecipientsRefused | smtplib.SMTPResponseException):
        return all(code >= 500 for code in _codes(error))
    return isinstance(error, ValueError | smtplib.SMTPNotSupportedError)


def _codes(error: OSError | ValueError) -> list[int]:
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return [code for code, _ in error.recipients.values()]
    return [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []


def _without_address(error: OSError | ValueError) -> str:
    return " ".join([type(error).__name__, *map(str, _codes(error))])


def forget_expired() -> None:
    """Delete codes, sessions and idempotent answers that nobody may use any more. For the clock, hourly."""
    now = clock.now()
    with db.transaction() as session:
        session.execute(delete(LoginCode).where(LoginCode.expires_at <= now - timedelta(hours=1)))
        session.execute(delete(WorkerSession).where(WorkerSession.expires_at <= now - KEEP))
        session.execute(delete(StaffSession).where(StaffSession.expires_at <= now - KEEP))
        idempotency.forget_expired(session, now=now)
