"""What tiering does when the clock rings. Verdicts reconsider a tier themselves, in their own transaction."""

from infra import clock, db
from tiering import standing


def reconsider_due() -> int:
    """Clock: demote those whose grace is over. Returns how many workers were looked at."""
    with db.transaction() as session:
        due = standing.whose_grace_is_over(session, clock.now())
    for worker_id in due:
        with db.transaction() as session:
            standing.reconsider(session, worker_id, clock.now())
    return len(due)
