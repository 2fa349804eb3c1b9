"""Strikes: proven misconduct, counted; at the third the account is banned at once and a human looks at it."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from infra import ids, outbox
from infra.settings import settings
from quality import reviews
from quality.models import Strike
from tiering import standing

# What is misconduct, in words the worker reads. Bad craft, broken files and duplicates are not.
MISCONDUCT = {
    "off_topic": "The submission shows something else than the job asked for, on purpose.",
    "policy_violation": "The submission breaks the content policy.",
    "fraud": "The submission was proven to be a fraud.",
}


def give(session: Session, *, worker_id: UUID, submission_id: UUID, code: str, now: datetime) -> int:
    """
    Count a strike; at the limit ban the worker, write down why, and open a review. Returns the strikes that stand.
    Giving the strike for the same submission again counts once.
    """
    # Two strikes at once queue up here, so that exactly one of them is the third.
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:worker, 2))"), {"worker": str(worker_id)})
    given = session.execute(
        insert(Strike)
        .values(
            id=ids.new(),
            worker_id=worker_id,
            submission_id=submission_id,
            code=code,
            written=MISCONDUCT[code],
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=[Strike.submission_id])
        .returning(Strike.id)
    ).scalar_one_or_none()
    count = standing_count(session, worker_id)
    if given is not None:
        shown = ids.show("wkr", worker_id)
        outbox.record(session, "worker.struck", subject=shown, data={"worker": shown, "code": code, "strikes": count})
    if count >= settings().strikes_to_ban:
        _ban(session, worker_id, now)
    return count


def standing_count(session: Session, worker_id: UUID) -> int:
    """Strikes that count."""
    return session.scalar(select(func.count()).where(Strike.worker_id == worker_id, Strike.lifted_at.is_(None))) or 0


def of_worker(session: Session, worker_id: UUID) -> list[Strike]:
    """All strikes of a worker, the latest first."""
    return list(session.scalars(select(Strike).where(Strike.worker_id == worker_id).order_by(Strike.id.desc())))


def lift_all(session: Session, worker_id: UUID, *, now: datetime) -> None:
    """The strikes behind a lifted ban do not count any more, nor do the scores that came with them."""
    lifted = session.scalars(
        update(Strike)
        .where(Strike.worker_id == worker_id, Strike.lifted_at.is_(None))
        .values(lifted_at=now)
        .returning(Strike.submission_id)
        .execution_options(synchronize_session=False)
    ).all()
    for submission_id in lifted:
        standing.void_outcome(session, submission_id=submission_id, now=now)
    standing.reconsider(session, worker_id, now)


def _ban(session: Session, worker_id: UUID, now: datetime) -> None:
    cases = [strike for strike in of_worker(session, worker_id) if strike.lifted_at is None]
    written = f"{len(cases)} strikes: " + " ".join(
        f"({index}) {strike.created_at:%Y-%m-%d}: {strike.written}" for index, strike in enumerate(reversed(cases), 1)
    )
    if standing.ban(session, worker_id=worker_id, reason=written, now=now):
        reasons = [{"code": strike.code, "submission": ids.show("sub", strike.submission_id)} for strike in cases]
        reviews.open(session, kind="ban", subject_id=worker_id, worker_id=worker_id, reasons=reasons, now=now)
