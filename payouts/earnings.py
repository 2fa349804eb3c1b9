"""Earnings: what workers were paid for accepted work and have not cashed out."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from payouts import accounts, ledger
from payouts.ledger import About, Line
from payouts.models import Transfer
from payouts.money import Split


def pay(
    session: Session, *, job_id: UUID, worker_id: UUID, submission_id: UUID, split: Split, now: datetime
) -> Transfer:
    """
    Pay for one accepted submission out of the job's escrow, once, whoever asks how often.

    It locks the job's escrow until the transaction ends: do it last.

    :param split: what this submission costs; of a submission of several files, their sum
    :raises Overdrawn: the escrow does not hold it, which is a bug: it always covers the unapproved slots
    """
    return ledger.post(
        session,
        reason="pay",
        cause=f"approve:{submission_id}",
        entries={
            accounts.escrow(job_id): -split.buyer,
            accounts.earnings(worker_id): split.worker,
            accounts.FEE: split.fee,
        },
        about=About(job_id=job_id, worker_id=worker_id, submission_id=submission_id),
        now=now,
    )


def balance(session: Session, worker_id: UUID) -> int:
    """Cents the worker can cash out."""
    return ledger.balance(session, accounts.earnings(worker_id))


def history(session: Session, worker_id: UUID, *, limit: int, before: UUID | None = None) -> Sequence[Line]:
    """What the worker earned, cashed out and got back, newest first."""
    return ledger.lines(session, accounts.earnings(worker_id), limit=limit, before=before)
