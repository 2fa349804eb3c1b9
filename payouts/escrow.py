"""Escrow: what a published job has set aside for its unapproved slots."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from infra.errors import PaymentRequired
from payouts import accounts, ledger
from payouts.ledger import About, Overdrawn
from payouts.models import Transfer


class WalletTooShort(PaymentRequired):
    """The wallet does not hold enough for this job."""


def reserve(
    session: Session, *, organization_id: UUID, job_id: UUID, cents: int, cause: str, now: datetime
) -> Transfer:
    """
    Set money aside for a job: at publication, or when its target grows.

    :param cents: what all slots in question cost the buyer, fees on top included
    :param cause: `publish:<job id>`; once per cause
    :raises WalletTooShort: with what is needed, there and missing
    """
    _more_than_nothing(cents)
    try:
        return ledger.post(
            session,
            reason="reserve",
            cause=cause,
            entries={accounts.wallet(organization_id): -cents, accounts.escrow(job_id): cents},
            about=About(organization_id=organization_id, job_id=job_id),
            now=now,
        )
    except Overdrawn as short:
        missing = short.needed_cents - short.available_cents
        raise WalletTooShort(
            f"This needs {short.needed_cents:,} cents and the wallet holds {short.available_cents:,}. "
            f"Top up at least {missing:,} cents and try again.",
            needed_cents=short.needed_cents,
            available_cents=short.available_cents,
            missing_cents=missing,
        ) from None


def refund(session: Session, *, organization_id: UUID, job_id: UUID, cents: int, cause: str, now: datetime) -> Transfer:
    """
    Give money that the job no longer needs back to the wallet it came from.

    :param cause: `cancel:<job id>`; once per cause
    :raises Overdrawn: the escrow does not hold it, which is a bug of whoever computed it
    """
    _more_than_nothing(cents)
    return ledger.post(
        session,
        reason="refund",
        cause=cause,
        entries={accounts.escrow(job_id): -cents, accounts.wallet(organization_id): cents},
        about=About(organization_id=organization_id, job_id=job_id),
        now=now,
    )


def balance(session: Session, job_id: UUID) -> int:
    """Cents the job has set aside."""
    return ledger.balance(session, accounts.escrow(job_id))


def _more_than_nothing(cents: int) -> None:
    if cents <= 0:
        raise ValueError(f"escrow moves by more than nothing: {cents}")
