"""
The sandbox rail: pays nobody and keeps books of it, as a provider would: in tables and transactions of its own, idempotent by
key. It can be told what to do with a worker's next payment.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from infra import clock, db, ids
from payouts.models import SandboxFault, SandboxPayout
from payouts.rails.rail import Payment, RailRefused, RailUnavailable, Receipt, Statement


class Sandbox:
    """Answers like a payment provider, out of the database."""

    name = "sandbox"

    def send(self, payment: Payment) -> Receipt:
        db.forbid_in_transaction("rails.sandbox.send")
        with db.transaction() as session:
            fault = _enter(session, payment)
            answer = session.get_one(SandboxPayout, payment.key)
        if fault == "silence":
            raise RailUnavailable("The sandbox was told to pay and not to answer.")
        if answer.amount_cents != payment.amount_cents or answer.worker_id != payment.worker_id:
            raise RailRefused(f"Key {payment.key} was used for another payment.")
        if answer.refusal is not None:
            raise RailRefused(answer.refusal)
        return Receipt(f"sandbox_{payment.key}")

    def statement(self) -> Statement:
        db.forbid_in_transaction("rails.sandbox.statement")
        with db.transaction() as session:
            # The moment before: a payment entered while the rows are read is later than the statement.
            taken_at = clock.now()
            paid = select(SandboxPayout.key, SandboxPayout.amount_cents).where(SandboxPayout.refusal.is_(None))
            return Statement(taken_at, dict(session.execute(paid).all()))


def fail_next(session: Session, *, worker_id: UUID, reason: str, now: datetime) -> None:
    """Have the sandbox refuse this worker's next payment for a reason. Told twice, it refuses the next two."""
    _tell(session, worker_id, "refuse", reason, now)


def silence_next(session: Session, *, worker_id: UUID, now: datetime) -> None:
    """Have the sandbox make this worker's next payment and not answer, as a time-out after the effect does."""
    _tell(session, worker_id, "silence", None, now)


def _tell(session: Session, worker_id: UUID, kind: str, reason: str | None, now: datetime) -> None:
    session.add(SandboxFault(id=ids.new(), worker_id=worker_id, kind=kind, reason=reason, created_at=now))
    session.flush()


def _enter(session: Session, payment: Payment) -> str | None:
    """Enter a payment under its key unless it is there; the kind of fault that was due, if any. Racers wait here."""
    entered = session.execute(
        upsert(SandboxPayout)
        .values(
            key=payment.key,
            worker_id=payment.worker_id,
            amount_cents=payment.amount_cents,
            created_at=clock.now(),
        )
        .on_conflict_do_nothing()
        .returning(SandboxPayout.key)
    ).scalar_one_or_none()
    if entered is None:
        return None
    due = (
        select(SandboxFault.id)
        .where(SandboxFault.worker_id == payment.worker_id)
        .order_by(SandboxFault.id)
        .limit(1)
        .with_for_update()
    )
    taken = session.execute(
        delete(SandboxFault)
        .where(SandboxFault.id == due.scalar_subquery())
        .returning(SandboxFault.kind, SandboxFault.reason)
    )
    for kind, reason in taken:
        session.get_one(SandboxPayout, payment.key).refusal = reason
        return kind
    return None
