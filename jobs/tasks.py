"""
Tasks: the slots of a job, counted.

Whoever changes a slot changes the task's row first and the job's row after it, always in that order; so two racers wait
for each other and never form a ring.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, cast, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import INT4MULTIRANGE
from sqlalchemy.orm import Session

from infra import ids
from infra.errors import Conflict
from infra.settings import settings
from jobs.models import Job, Task, all_slots
from tiering import eligibility, windows
from tiering.tiers import Tier


class NoSlotLeft(Conflict):
    """Every slot of this task is taken."""


def create(session: Session, job: Job) -> Task:
    """The one task of a collection job; its slots open when the job does."""
    target = job.files_needed // job.files_per_submission
    task = Task(
        id=ids.new(),
        job_id=job.id,
        target=target,
        claimable=False,
        assigned=0,
        pending=0,
        approved=0,
        newcomer_quota=windows.newcomer_quota(target, _needed_tier(job)),
        newcomer_taken=0,
        free=all_slots(target),
    )
    session.add(task)
    session.flush()
    return task


def minimum_tier(job: Job) -> Tier:
    """The tier the buyer asks for; the price may ask for more (`tiering.eligibility.required_tier`)."""
    return "diamond" if job.audience.get("diamond_only") else "new"


def _needed_tier(job: Job) -> Tier:
    return eligibility.required_tier(job.price_per_file_cents, minimum_tier(job))


def of_job(session: Session, job_id: UUID, *, lock: bool = False) -> Task:
    """The task of a job; `lock` makes everybody who wants a slot wait for this transaction."""
    statement = select(Task).where(Task.job_id == job_id).execution_options(populate_existing=True)
    return session.scalars(statement.with_for_update() if lock else statement).one()


def open_doors(session: Session, job_id: UUID) -> Task:
    """Let workers claim."""
    return _change(session, Task.job_id == job_id, claimable=True)


def close_doors(session: Session, job_id: UUID) -> Task:
    """Let nobody claim any more; who holds a slot keeps it."""
    return _change(session, Task.job_id == job_id, claimable=False)


def held_for_newcomers(job: Job, now: datetime) -> bool:
    """Whether the newcomers' share of the slots is still theirs alone."""
    return job.published_at is not None and now < job.published_at + timedelta(minutes=settings().newcomer_minutes)


def take(session: Session, job: Job, *, newcomer: bool, now: datetime) -> tuple[Task, int]:
    """
    Take the lowest free slot, unless all that is left is held for newcomers.

    One UPDATE both checks and takes; of two racers for the last slot the second finds none when its turn comes.

    :raises NoSlotLeft: others were faster, or the job takes no claims now
    """
    left = Task.target - Task.assigned - Task.pending - Task.approved
    held = func.greatest(Task.newcomer_quota - Task.newcomer_taken, 0)
    reserved: ColumnElement[int] = literal(0) if newcomer or not held_for_newcomers(job, now) else held
    lowest = func.lower(Task.free, type_=Integer)
    slot = func.int4multirange(func.int4range(lowest, lowest + 1), type_=INT4MULTIRANGE)
    before = text("lower(old.free) AS slot")
    row = session.execute(
        update(Task)
        .where(Task.job_id == job.id, Task.claimable, left > reserved)
        .values(
            assigned=Task.assigned + 1,
            newcomer_taken=Task.newcomer_taken + (1 if newcomer else 0),
            free=Task.free.op("-")(slot),
        )
        .returning(Task, before)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).one_or_none()
    if row is None:
        raise NoSlotLeft("Every slot is taken, or the job takes no claims now. Slots come back when a claim runs out.")
    return row[0], row[1]


def hand_in(session: Session, task_id: UUID) -> Task:
    """assigned -> pending"""
    return _change(session, Task.id == task_id, assigned=Task.assigned - 1, pending=Task.pending + 1)


def take_back(session: Session, task_id: UUID) -> Task:
    """pending -> assigned: the worker may try once more on the same slot."""
    return _change(session, Task.id == task_id, assigned=Task.assigned + 1, pending=Task.pending - 1)


def accept(session: Session, task_id: UUID) -> Task:
    """pending -> approved"""
    return _change(session, Task.id == task_id, pending=Task.pending - 1, approved=Task.approved + 1)


def free_assigned(session: Session, task_id: UUID, slot: int, *, newcomer: bool) -> Task:
    """assigned -> free"""
    return _free(session, task_id, slot, newcomer, assigned=Task.assigned - 1)


def free_pending(session: Session, task_id: UUID, slot: int, *, newcomer: bool) -> Task:
    """pending -> free"""
    return _free(session, task_id, slot, newcomer, pending=Task.pending - 1)


def _free(session: Session, task_id: UUID, slot: int, newcomer: bool, **count: ColumnElement[int]) -> Task:
    returned = func.int4multirange(func.int4range(cast(slot, Integer), cast(slot + 1, Integer)), type_=INT4MULTIRANGE)
    return _change(
        session,
        Task.id == task_id,
        free=Task.free.op("+")(returned),
        newcomer_taken=Task.newcomer_taken - (1 if newcomer else 0),
        **count,
    )


def _change(session: Session, which: ColumnElement[bool], **changes: object) -> Task:
    return session.scalars(
        update(Task)
        .where(which)
        .values(**changes)
        .returning(Task)
        .execution_options(synchronize_session=False, populate_existing=True)
    ).one()
