"""Reviews: what machines must not decide alone, waiting for a human with a deadline."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from infra import ids, outbox, states
from infra.errors import NotFound
from infra.settings import settings
from quality.models import REVIEW, Review


class NoSuchReview(NotFound):
    """There is no such review."""


def open(
    session: Session,
    *,
    kind: str,
    subject_id: UUID,
    worker_id: UUID,
    reasons: Sequence[dict[str, Any]],
    job_id: UUID | None = None,
    held_cents: int = 0,
    now: datetime,
) -> UUID | None:
    """Ask a human. None when this is already being asked."""
    opened = session.execute(
        insert(Review)
        .values(
            id=ids.new(),
            state="open",
            due_at=now + timedelta(hours=settings().review_hours),
            kind=kind,
            subject_id=subject_id,
            worker_id=worker_id,
            job_id=job_id,
            reasons=list(reasons),
            held_cents=held_cents,
            escalations=0,
            opened_at=now,
        )
        # The predicate is text: as a parameter it hides the index from a prepared statement's generic plan, and the
        # eleventh review of a connection would fail.
        .on_conflict_do_nothing(index_elements=[Review.kind, Review.subject_id], index_where=text("state = 'open'"))
        .returning(Review.id)
    ).scalar_one_or_none()
    if opened is not None:
        outbox.record(session, "review.opened", subject=ids.show("rev", opened), data={"kind": kind})
    return opened


def get(session: Session, review_id: UUID, *, lock: bool = False) -> Review:
    """
    :raises NoSuchReview: unknown id
    """
    review = session.get(Review, review_id, populate_existing=True, with_for_update=lock)
    if review is None:
        raise NoSuchReview
    return review


def open_about(session: Session, *, kind: str, subject_id: UUID, lock: bool = False) -> Review | None:
    """The open review of this subject, if there is one."""
    statement = select(Review).where(Review.kind == kind, Review.subject_id == subject_id, Review.state == "open")
    return session.scalars(statement.with_for_update() if lock else statement).one_or_none()


def ask_anew(session: Session, review: Review, *, reasons: Sequence[dict[str, Any]]) -> None:
    """More is known by now: the same question, for better reasons, by the same hour."""
    states.move(session, Review, review.id, along=REVIEW, to="open", due_at=review.due_at, reasons=list(reasons))


def queue(*, kind: str | None = None, state: str = "open") -> Select[Review]:
    """Reviews in a state, for a page."""
    statement = select(Review).where(Review.state == state)
    return statement.where(Review.kind == kind) if kind else statement


def close(
    session: Session, review_id: UUID, *, decision: str, code: str | None, note: str, by: UUID | None, now: datetime
) -> Review:
    """
    Note what was decided, by whom and why. Carrying it out is the caller's, in the same transaction.

    :param by: who decided; None when there was nothing left to decide

    :raises IllegalMove: decided before
    """
    review = states.move(
        session,
        Review,
        review_id,
        along=REVIEW,
        to="decided",
        decision=decision,
        code=code,
        note=note,
        decided_by=by,
        decided_at=now,
    )
    outbox.record(
        session, "review.decided", subject=ids.show("rev", review_id), data={"kind": review.kind, "decision": decision}
    )
    return review


def escalate(session: Session, review_id: UUID, *, now: datetime) -> Review | None:
    """The deadline passed: say so, and give the next one. Nobody's pay is decided by a clock."""
    review = states.try_move(
        session,
        Review,
        review_id,
        along=REVIEW,
        to="open",
        due_at=now + timedelta(hours=settings().review_hours),
        escalations=Review.escalations + 1,
    )
    if review is not None:
        data = {"kind": review.kind, "escalations": review.escalations}
        outbox.record(session, "review.overdue", subject=ids.show("rev", review_id), data=data)
    return review


def count_open(session: Session) -> int:
    """How many wait, for metrics."""
    return session.scalar(select(func.count()).where(Review.state == "open")) or 0
