"""Submissions: what a worker hands in for an assignment. What becomes of it is decided in `quality`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select, text
from sqlalchemy.orm import Session

from infra import ids, outbox, states
from infra.errors import Conflict, NotFound
from infra.settings import settings
from jobs import jobs, places, positions, tasks
from jobs.lifecycle import ASSIGNMENT, SUBMISSION
from jobs.models import Assignment, Job, Submission
from jobs.positions import Position
from payouts.reconcile import Owed
from tiering import caps, workers


class NoSuchSubmission(NotFound):
    """There is no such submission."""


class ClaimRanOut(Conflict):
    """The time limit of this assignment is over."""


@dataclass(frozen=True)
class Decision:
    """What was decided about a submission: by whom (`gates` or a staff id), the stars if scored, and why."""

    by: str
    reason: dict[str, Any]
    stars: int | None = None


def submit(
    session: Session,
    *,
    client_id: str,
    assignment_id: UUID,
    worker_id: UUID,
    files: int,
    trust: str,
    position: Position,
    now: datetime,
) -> Submission:
    """
    Hand in the files for an assignment; from here on the slot waits for the verdict and no longer for the worker.

    :raises ClaimRanOut: the time limit is over, even if the clock has not come round yet
    :raises IllegalMove: already handed in, handed back or run out
    :raises DailyCapReached: enough for today
    """
    worker = workers.get(session, worker_id)
    assignment = states.move(
        session,
        Assignment,
        assignment_id,
        along=ASSIGNMENT,
        to="submitted",
        only_from="claimed",
        due_at=now + timedelta(minutes=settings().verdict_minutes),
        attempts=Assignment.attempts + 1,
    )
    job = jobs.get(session, assignment.job_id)
    if not job.test:
        caps.take(session, worker_id=worker_id, tier=worker.tier, now=now)
    tasks.hand_in(session, assignment.task_id)
    speed = positions.move(session, worker, position, now=now)
    submission = Submission(
        id=ids.new(),
        state="pending",
        due_at=now + timedelta(minutes=settings().verdict_minutes),
        client_id=client_id,
        assignment_id=assignment.id,
        task_id=assignment.task_id,
        job_id=job.id,
        organization_id=job.organization_id,
        worker_id=worker_id,
        attempt=assignment.attempts,
        files=files,
        buyer_cents=job.buyer_cents,
        worker_cents=job.worker_cents,
        fee_cents=job.fee_cents,
        trust=trust,
        position=position.evidence(now=now, speed_kmh=speed),
        region=places.region_code(position.point),
        submitted_at=now,
    )
    session.add(submission)
    session.flush()
    outbox.record(
        session,
        "submission.received",
        subject=ids.show("sub", submission.id),
        organization_id=submission.organization_id,
        data=_about(submission, assignment=ids.show("asg", assignment.id), test=job.test),
    )
    return submission


def require_time_left(assignment: Assignment, now: datetime) -> None:
    """
    :raises ClaimRanOut: the deadline has passed, whether or not the clock has rung it
    """
    if assignment.state == "claimed" and assignment.due_at is not None and assignment.due_at <= now:
        raise ClaimRanOut("The time limit of this assignment is over. Claim another slot if there is one.")


def send_to_review(
    session: Session, submission_id: UUID, *, reason: dict[str, Any], stars: int | None = None, now: datetime
) -> Submission | None:
    """
    A human must look, and the worker can read why. None when the submission is decided.

    :param stars: what the scorers say, for whoever decides
    """
    return states.try_move(
        session,
        Submission,
        submission_id,
        along=SUBMISSION,
        to="in_review",
        due_at=now + timedelta(hours=settings().review_hours),
        reason=reason,
        stars=stars,
    )


def overdue(session: Session, *, now: datetime) -> Sequence[UUID]:
    """Submissions that wait for a verdict or a reviewer past their deadline, longest first."""
    return session.scalars(states.overdue(Submission, SUBMISSION, now)).all()


def keep_waiting(session: Session, submission_id: UUID, *, now: datetime) -> None:
    """The reviewer took longer than a review should; the review itself is escalated."""
    due_at = now + timedelta(hours=settings().review_hours)
    states.try_move(session, Submission, submission_id, along=SUBMISSION, to="in_review", due_at=due_at)


def approve(session: Session, submission_id: UUID, decision: Decision, *, now: datetime) -> Submission | None:
    """Submission, assignment, slot and job move on together. None when it was decided before."""
    submission = _decide(session, submission_id, "approved", decision, now)
    if submission is None:
        return None
    states.move(session, Assignment, submission.assignment_id, along=ASSIGNMENT, to="approved")
    task = tasks.accept(session, submission.task_id)
    jobs.follow(session, jobs.get(session, submission.job_id), task, now=now)
    _tell(session, "submission.approved", submission)
    return submission


def reject(
    session: Session, submission_id: UUID, decision: Decision, *, retry: bool, now: datetime
) -> Submission | None:
    """
    The slot comes back, or stays the worker's for one more try with a fresh time limit. None when it was decided before.
    """
    submission = _decide(session, submission_id, "rejected", decision, now)
    if submission is None:
        return None
    if retry:
        minutes = jobs.get(session, submission.job_id).task_time_limit_minutes
        states.move(
            session,
            Assignment,
            submission.assignment_id,
            along=ASSIGNMENT,
            to="claimed",
            due_at=now + timedelta(minutes=minutes),
        )
        tasks.take_back(session, submission.task_id)
    else:
        assignment = states.move(session, Assignment, submission.assignment_id, along=ASSIGNMENT, to="rejected")
        task = tasks.free_pending(session, submission.task_id, assignment.slot, newcomer=assignment.newcomer)
        # Read under the task's lock: a job that was cancelled a moment ago wants the slot's money back.
        job = jobs.get(session, submission.job_id)
        jobs.slot_freed(session, job, task, cause=str(submission_id), now=now)
    _tell(session, "submission.rejected", submission, retry=retry)
    return submission


def _decide(session: Session, submission_id: UUID, to: str, decision: Decision, now: datetime) -> Submission | None:
    return states.try_move(
        session,
        Submission,
        submission_id,
        along=SUBMISSION,
        to=to,
        decided_at=now,
        decided_by=decision.by,
        stars=decision.stars,
        reason=decision.reason,
    )


def owed(session: Session) -> dict[UUID, Owed]:
    """What every accepted submission pays; dry runs pay nothing."""
    rows = session.execute(
        select(
            Submission.id, Submission.worker_id, Submission.buyer_cents, Submission.worker_cents, Submission.fee_cents
        )
        .join(Job, Job.id == Submission.job_id)
        .where(Submission.state == "approved", ~Job.test)
    )
    return {id: Owed(worker_id, buyer, worker, fee) for id, worker_id, buyer, worker, fee in rows}


def get(session: Session, submission_id: UUID, *, lock: bool = False) -> Submission:
    """
    :raises NoSuchSubmission: unknown id
    """
    submission = session.get(Submission, submission_id, populate_existing=True, with_for_update=lock)
    if submission is None:
        raise NoSuchSubmission
    return submission


def of_worker(session: Session, submission_id: UUID, worker_id: UUID) -> Submission:
    """
    The worker's own submission.

    :raises NoSuchSubmission: unknown, or somebody else's
    """
    submission = get(session, submission_id)
    if submission.worker_id != worker_id:
        raise NoSuchSubmission
    return submission


def claim_position(session: Session, submission: Submission) -> dict[str, Any]:
    """The evidence of where the phone was when it claimed the slot."""
    return session.get_one(Assignment, submission.assignment_id).position


def may_retry(session: Session, submission: Submission) -> bool:
    """Whether this rejection left the assignment with its worker for one more try."""
    if submission.state != "rejected":
        return False
    assignment = session.get_one(Assignment, submission.assignment_id)
    return assignment.state == "claimed" and assignment.attempts == submission.attempt


def by_client_id(session: Session, *, worker_id: UUID, client_id: str, wait: bool = False) -> Submission | None:
    """
    What the worker handed in under this id before, so that sending it twice counts once.

    :param wait: for other transactions that are about to hand in under it, and make later ones wait for this one
    """
    if wait:
        key = {"id": f"{worker_id} {client_id}"}
        session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:id, 3))"), key)
    return session.scalars(
        select(Submission).where(Submission.worker_id == worker_id, Submission.client_id == client_id)
    ).one_or_none()


def of_job(job_id: UUID, *, state: str | None = None) -> Select[Submission]:
    """The submissions of a job, for a page."""
    statement = select(Submission).where(Submission.job_id == job_id)
    return statement.where(Submission.state == state) if state else statement


def by_worker(worker_id: UUID) -> Select[Submission]:
    """The worker's submissions, for a page."""
    return select(Submission).where(Submission.worker_id == worker_id)


def _about(submission: Submission, **data: Any) -> dict[str, Any]:
    return {
        "submission": ids.show("sub", submission.id),
        "job": ids.show("job", submission.job_id),
        "worker": ids.show("wkr", submission.worker_id),
        **data,
    }


def _tell(session: Session, type: str, submission: Submission, **data: Any) -> None:
    outbox.record(
        session,
        type,
        subject=ids.show("sub", submission.id),
        organization_id=submission.organization_id,
        data=_about(
            submission,
            stars=submission.stars,
            reason=submission.reason,
            price_cents=submission.buyer_cents if submission.state == "approved" else 0,
            region=submission.region,
            **data,
        ),
    )
