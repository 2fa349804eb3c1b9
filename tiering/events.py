"""What tiering tells the rest of the house. No addresses, no reasons in free text: events hold no personal data."""

from uuid import UUID

from sqlalchemy.orm import Session

from infra import ids, outbox
from tiering.models import TierChange


def tier_changed(session: Session, change: TierChange) -> None:
    """A worker was promoted or demoted."""
    worker = ids.show("wkr", change.worker_id)
    outbox.record(
        session,
        "worker.tier_changed",
        subject=worker,
        data={
            "worker": worker,
            "from": change.from_tier,
            "to": change.to_tier,
            "approval_rate": change.approval_rate,
            "scored": change.scored,
            "reason": change.reason,
        },
    )


def banned(session: Session, worker_id: UUID) -> None:
    """A worker lost access."""
    worker = ids.show("wkr", worker_id)
    outbox.record(session, "worker.banned", subject=worker, data={"worker": worker})


def ban_lifted(session: Session, worker_id: UUID) -> None:
    """A worker has access again."""
    worker = ids.show("wkr", worker_id)
    outbox.record(session, "worker.ban_lifted", subject=worker, data={"worker": worker})
