"""Assignments: one worker's exclusive, expiring claim on one slot of a task."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, text
from sqlalchemy.orm import Session

from infra import ids, outbox, states
from infra.errors import Conflict, Exhausted, Forbidden, NotFound
from infra.settings import settings
from ingest import uploads
from jobs import geo, jobs, organizations, places, positions, tasks
from jobs.lifecycle import ASSIGNMENT, HOLDING
from jobs.models import Assignment, Job
from jobs.positions import Position
from tiering import caps, eligibility, windows, workers
from tiering.models import Worker


class NoSuchAssignment(NotFound):
    """There is no such assignment of yours."""


class NotOpen(Conflict):
    """This job takes no claims now."""


class NotClaimed(Conflict):
    """This assignment is not waiting for files."""


class JobLimitReached(Forbidden):
    """This job takes no more from you."""


class TooManyClaims(Exhausted):
    """You hold as many claims as one worker may."""


def claim(
    session: Session, *, job_id: UUID, worker_id: UUID, platform: str | None, position: Position, now: datetime
) -> Assignment:
    """
    Give the worker a slot until the job's task time limit.

    :raises NotOpen: paused, filled or over
    :raises NotEligible: window, place, cap, audience or device does not fit; names each reason (`tiering.eligibility`)
    :raises TooManyClaims: hand one back or finish it first
    :raises NoSlotLeft: others were faster
    """
    _one_claim_at_a_time(session, worker_id)
    worker = workers.get(session, worker_id, fresh=True)
    job = jobs.get(session, job_id)
    _require_eligible(session, job, worker, platform, position, now)
    _require_room_for_claim(session, worker_id)

    newcomer = windows.is_newcomer(worker.assignments_count)
    task, slot = tasks.take(session, job, newcomer=newcomer, now=now)
    _require_room_in_job(session, job, worker_id)
    speed = positions.move(session, worker, position, now=now)
    assignment = Assignment(
        id=ids.new(),
        state="claimed",
        due_at=now + timedelta(minutes=job.task_time_limit_minutes),
        task_id=task.id,
        job_id=job.id,
        worker_id=worker_id,
        slot=slot,
        newcomer=newcomer,
        position=position.evidence(now=now, speed_kmh=speed),
        attempts=0,
        claimed_at=now,
    )
    session.add(assignment)
    session.flush()
    workers.count_assignment(session, worker_id, 1)
    jobs.follow(session, job, task, now=now)
    return assignment


def hand_back(session: Session, assignment_id: UUID, *, worker_id: UUID, now: datetime) -> Assignment:
    """The worker gives the slot back unused; it does not count among the first jobs of a newcomer."""
    of_worker(session, assignment_id, worker_id)
    released = _release(session, assignment_id, to="handed_back", now=now)
    workers.count_assignment(session, worker_id, -1)
    return released


def ring(session: Session, assignment_id: UUID, *, now: datetime) -> None:
    """What the clock does with an assignment past its deadline: a claim has run out, a verdict is waited for longer."""
    assignment = session.get(Assignment, assignment_id, populate_existing=True, with_for_update=True)
    if assignment is None or assignment.due_at is None or assignment.due_at > now:
        return
    if assignment.state == "claimed":
        _release(session, assignment_id, to="expired", now=now)
    elif assignment.state == "submitted":
        assignment.due_at = now + timedelta(hours=settings().review_hours)


def _release(session: Session, assignment_id: UUID, *, to: str, now: datetime) -> Assignment:
    assignment = states.move(session, Assignment, assignment_id, along=ASSIGNMENT, to=to, only_from="claimed")
    task = tasks.free_assigned(session, assignment.task_id, assignment.slot, newcomer=assignment.newcomer)
    uploads.release(session, assignment_id, now=now)
    job = jobs.get(session, assignment.job_id)
    jobs.slot_freed(session, job, task, cause=str(assignment_id), now=now)
    outbox.record(
        session,
        f"assignment.{to}",
        subject=ids.show("asg", assignment.id),
        data={"job": ids.show("job", job.id), "worker": ids.show("wkr", assignment.worker_id)},
    )
    return assignment


def of_worker(session: Session, assignment_id: UUID, worker_id: UUID) -> Assignment:
    """
    The worker's own assignment.

    :raises NoSuchAssignment: unknown, or somebody else's
    """
    assignment = session.get(Assignment, assignment_id, populate_existing=True)
    if assignment is None or assignment.worker_id != worker_id:
        raise NoSuchAssignment
    return assignment


def require_claimed(assignment: Assignment) -> None:
    """
    :raises NotClaimed: handed in, handed back or run out
    """
    if assignment.state != "claimed":
        raise NotClaimed(f"This assignment is {assignment.state}.", state=assignment.state)


def by_worker(worker_id: UUID, *, state: str | None = None) -> Select[Assignment]:
    """The worker's assignments, for a page."""
    statement = select(Assignment).where(Assignment.worker_id == worker_id)
    return statement.where(Assignment.state == state) if state else statement


def open_claims(session: Session, worker_id: UUID) -> int:
    """Claims that will be submissions and then count towards the daily cap, which dry runs do not."""
    held = select(func.count()).select_from(Assignment).join(Job, Job.id == Assignment.job_id)
    held = held.where(Assignment.worker_id == worker_id, Assignment.state == "claimed", ~Job.test)
    return session.scalar(held) or 0


def seconds_left(assignment: Assignment, now: datetime) -> int:
    """Whole seconds until the claim runs out; 0 once it is no longer claimed."""
    if assignment.state != "claimed" or assignment.due_at is None:
        return 0
    return max(0, int((assignment.due_at - now).total_seconds()))


def _require_eligible(
    session: Session, job: Job, worker: Worker, platform: str | None, position: Position, now: datetime
) -> None:
    if job.state != "open" or job.published_at is None:
        raise NotOpen(f"This job is {job.state}: it takes no claims now.", state=job.state)
    if job.ends_at is not None and job.ends_at <= now:  # the clock has not come round yet
        raise NotOpen("The time of this job is over: it takes no claims now.", state=job.state)
    area = places.area_from_json(job.area) if job.area else None
    platforms = job.tech_constraints.get("platforms")
    invited = not job.test or worker.email.lower() in job.test_emails
    eligibility.require(
        eligibility.WorkerFacts(
            tier=worker.tier,
            banned=worker.state == "banned",
            # In this order: what is handed in between the two is counted twice rather than not at all.
            open_claims=open_claims(session, worker.id),
            used_today=caps.used(session, worker.id, now),
        ),
        eligibility.JobFacts(
            published_at=job.published_at,
            price_cents=job.price_per_file_cents,
            minimum_tier=tasks.minimum_tier(job),
            own_organization=job.organization_id in organizations.memberships(session, worker.email),
            in_place=area is None or geo.contains(area, position.point),
            in_audience=invited and (not platforms or platform in platforms),
        ),
        now,
    )


def _one_claim_at_a_time(session: Session, worker_id: UUID) -> None:
    """Claims of one worker queue up here, so that what is read and counted below is exact; those of others do not."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:worker, 1))"), {"worker": str(worker_id)})


def _require_room_for_claim(session: Session, worker_id: UUID) -> None:
    held = _count(session, Assignment.worker_id == worker_id, Assignment.state == "claimed")
    limit = settings().open_claims
    if held >= limit:
        raise TooManyClaims(f"You hold {held} claims of at most {limit}. Finish or hand back one first.", limit=limit)


def _require_room_in_job(session: Session, job: Job, worker_id: UUID) -> None:
    """Runs after the slot is taken: the task's row is locked by now, so nobody slips past these two limits."""
    holding = (Assignment.job_id == job.id, Assignment.state.in_(sorted(HOLDING)))
    if job.max_submissions_per_worker is not None:
        mine = _count(session, *holding, Assignment.worker_id == worker_id)
        if mine >= job.max_submissions_per_worker:
            raise JobLimitReached(
                f"This job takes at most {job.max_submissions_per_worker} submissions from one worker.",
                limit=job.max_submissions_per_worker,
            )
    if job.max_workers is not None:
        others = session.scalar(
            select(func.count(func.distinct(Assignment.worker_id))).where(*holding, Assignment.worker_id != worker_id)
        )
        if (others or 0) >= job.max_workers:
            raise JobLimitReached(f"This job takes at most {job.max_workers} workers.", limit=job.max_workers)


def _count(session: Session, *conditions: Any) -> int:
    return session.scalar(select(func.count()).select_from(Assignment).where(*conditions)) or 0
