"""What tiering does when an event or the clock rings."""

from uuid import UUID

from infra import clock, db, ids, outbox
from tiering import standing


def reconsider(event_id: UUID) -> None:
    """A submission was approved or rejected: its worker's tier may follow."""
    with db.transaction() as session:
        worker_id = ids.read("wkr", outbox.event(session, event_id).data["worker"])
        standing.reconsider(session, worker_id, clock.now())


def reconsider_due() -> int:
    """Clock: demote those whose grace is over. Returns how many workers were looked at."""
    with db.transaction() as session:
        due = standing.whose_grace_is_over(session, clock.now())
    for worker_id in due:
        with db.transaction() as session:
            standing.reconsider(session, worker_id, clock.now())
    return len(due)
