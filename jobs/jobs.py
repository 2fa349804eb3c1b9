"""Jobs: what buyers order, from draft to the end, and the money that stands behind every open slot."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from infra import ids, outbox, states
from infra.errors import Invalid, NotFound
from infra.settings import settings
from jobs import cells, geo, places, tasks
from jobs.geo import Area, Disc, Point
from jobs.lifecycle import ENDED, JOB, RUNNING
from jobs.models import Job, Task
from payouts import escrow, money

DRAFTS_LIVE = timedelta(days=90)
CLOSING_CHECK = timedelta(minutes=5)


class NoSuchJob(NotFound):
    """There is no such job."""


class BadDraft(Invalid):
    """This job does not fit the rules."""


@dataclass(frozen=True)
class Draft:
    """What a buyer says of a collection job. Single values are already within their ranges; this knows how they relate."""

    title: str
    description: str
    accepted_formats: list[str]
    files_needed: int
    price_per_file_cents: int
    files_per_submission: int = 1
    worker_guidelines: str | None = None
    scoring_criteria: str | None = None
    fee_mode: money.FeeMode = "inclusive"
    min_star_rating: int = 3
    min_width: int | None = None
    min_height: int | None = None
    location: dict[str, Any] | None = None
    starts_at: datetime | None = None
    deadline: datetime | None = None
    posting_time_limit_minutes: int = 10_080
    task_time_limit_minutes: int = 30
    max_workers: int | None = None
    max_submissions_per_worker: int | None = None
    priority: str = "normal"
    audience: dict[str, Any] = field(default_factory=dict)
    tech_constraints: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    test: bool = False
    test_emails: list[str] = field(default_factory=list)


def create(session: Session, *, organization_id: UUID, draft: Draft, now: datetime) -> Job:
    """
    Keep a job as a draft. The place is resolved now, so that a misspelt city is refused now.

    :raises BadDraft: names the field and what it must agree with
    """
    _require_agreement(draft, now)
    area = places.resolve(session, places.Location(**draft.location)) if draft.location is not None else None
    split = money.split(
        draft.price_per_file_cents,
        draft.fee_mode,
        fee_percent=settings().fee_percent,
        on_top_percent=settings().fee_on_top_percent,
    )
    center, radius_km = _anchor(area) if area else (None, None)
    job = Job(
        id=ids.new(),
        state="draft",
        due_at=now + DRAFTS_LIVE,
        organization_id=organization_id,
        type="collection",
        title=draft.title,
        description=draft.description,
        worker_guidelines=draft.worker_guidelines,
        scoring_criteria=draft.scoring_criteria,
        accepted_formats=draft.accepted_formats,
        files_needed=draft.files_needed,
        files_per_submission=draft.files_per_submission,
        price_per_file_cents=draft.price_per_file_cents,
        fee_mode=draft.fee_mode,
        buyer_cents=split.buyer * draft.files_per_submission,
        worker_cents=split.worker * draft.files_per_submission,
        fee_cents=split.fee * draft.files_per_submission,
        min_star_rating=draft.min_star_rating,
        min_width=draft.min_width,
        min_height=draft.min_height,
        location=draft.location,
        area=places.area_to_json(area) if area else None,
        latitude=center.latitude if center else None,
        longitude=center.longitude if center else None,
        radius_km=radius_km,
        cells=sorted(cells.cover(area)) if area else [cells.EVERYWHERE],
        starts_at=draft.starts_at,
        deadline=draft.deadline,
        posting_time_limit_minutes=draft.posting_time_limit_minutes,
        task_time_limit_minutes=draft.task_time_limit_minutes,
        max_workers=draft.max_workers,
        max_submissions_per_worker=draft.max_submissions_per_worker,
        priority=draft.priority,
        audience=draft.audience,
        tech_constraints=draft.tech_constraints,
        meta=draft.metadata,
        test=draft.test,
        test_emails=[email.lower() for email in draft.test_emails],
        created_at=now,
    )
    session.add(job)
    session.flush()
    tasks.create(session, job)
    return job


def _anchor(area: Area) -> tuple[Point, float | None]:
    """What the feed measures distance to, and the radius it may check in SQL; a boundary is checked after the query."""
    disc = next((shape for shape in area.shapes if isinstance(shape, Disc)), None)
    return (disc.center, disc.radius_km) if disc else (geo.center(area), None)


def _require_agreement(draft: Draft, now: datetime) -> None:
    if draft.files_needed % draft.files_per_submission:
        raise BadDraft(
            f"files_needed ({draft.files_needed}) must be a multiple of files_per_submission ({draft.files_per_submission}).",
            field="files_needed",
        )
    if draft.deadline and draft.deadline <= (draft.starts_at or now):
        raise BadDraft("deadline must lie after starts_at and in the future.", field="deadline")
    if draft.audience.get("diamond_only") and not draft.location:
        raise BadDraft("A job for Diamond workers only needs a location.", field="audience.diamond_only")


def publish(session: Session, job_id: UUID, *, now: datetime) -> Job:
    """
    Put the money for every slot into escrow and open the job, or schedule it when `starts_at` lies ahead.

    :raises WalletTooShort: says what is missing
    :raises IllegalMove: only a draft can be published
    """
    task = tasks.of_job(session, job_id, lock=True)
    job = get(session, job_id)
    later = job.starts_at is not None and job.starts_at > now
    starts = job.starts_at if later and job.starts_at else now
    if job.deadline and job.deadline <= starts:
        raise BadDraft("The deadline of this job has passed. Create it again with a later one.", field="deadline")
    ends_at = starts + timedelta(minutes=job.posting_time_limit_minutes)
    if job.deadline:
        ends_at = min(ends_at, job.deadline)
    states.move(
        session,
        Job,
        job_id,
        along=JOB,
        to="scheduled" if later else "open",
        due_at=starts if later else ends_at,
        only_from="draft",
        ends_at=ends_at,
    )
    if not job.test:
        escrow.reserve(
            session,
            organization_id=job.organization_id,
            job_id=job_id,
            cents=task.target * job.buyer_cents,
            cause=f"publish:{job_id}",
            now=now,
        )
    return job if later else _open(session, job, now=now)


def start(session: Session, job_id: UUID, *, now: datetime) -> Job | None:
    """Open a scheduled job whose time has come."""
    tasks.of_job(session, job_id, lock=True)
    job = get(session, job_id)
    if job.ends_at is None:
        raise RuntimeError(f"job {job_id} is scheduled without an end")
    moved = states.try_move(session, Job, job_id, along=JOB, to="open", due_at=job.ends_at, only_from="scheduled")
    return _open(session, moved, now=now) if moved else None


def _open(session: Session, job: Job, *, now: datetime) -> Job:
    job.published_at = now
    tasks.open_doors(session, job.id)
    _tell(session, "job.published", job)
    return job


def pause(session: Session, job_id: UUID) -> Job:
    """Hide the job from new workers; running assignments may finish."""
    tasks.close_doors(session, job_id)
    return states.move(session, Job, job_id, along=JOB, to="paused", due_at=_end_of(session, job_id))


def resume(session: Session, job_id: UUID, *, now: datetime) -> Job:
    """Show a paused job again."""
    task = tasks.open_doors(session, job_id)
    due_at = _end_of(session, job_id)
    job = states.move(session, Job, job_id, along=JOB, to="open", due_at=due_at, only_from="paused")
    # Nobody claims from a paused job: one that is full now was full before, and the buyer has been told.
    follow(session, job, task, now=now, tell_filled=False)
    return job


def _end_of(session: Session, job_id: UUID) -> datetime:
    """When the job ends. One that was never published has no end, and the move it is wanted for will be refused."""
    job = get(session, job_id)
    return job.ends_at or job.created_at


def close(session: Session, job_id: UUID, *, now: datetime) -> Job:
    """Take no new work, finish what runs, pay it, and give the rest of the money back."""
    task = tasks.close_doors(session, job_id)
    job = states.move(session, Job, job_id, along=JOB, to="closing", due_at=now + CLOSING_CHECK)
    _give_back_free_slots(session, job, task, now=now)
    follow(session, job, task, now=now)
    return job


def cancel(session: Session, job_id: UUID, *, now: datetime) -> Job:
    """
    End the job. Money for slots nobody holds goes back to the wallet at once; who already claimed or handed in keeps the
    slot and its money until that is decided.
    """
    return _end(session, job_id, to="cancelled", now=now)


def _end(session: Session, job_id: UUID, *, to: str, now: datetime) -> Job:
    task = tasks.close_doors(session, job_id)
    before = get(session, job_id).state
    job = states.move(session, Job, job_id, along=JOB, to=to, ended_at=now)
    if before != "draft":
        _give_back_free_slots(session, job, task, now=now)
        _tell(session, f"job.{to}", job, slots_in_work=task.assigned + task.pending)
    return job


def ring(session: Session, job_id: UUID, *, now: datetime) -> None:
    """What the clock does with a job that is past its deadline."""
    task = tasks.of_job(session, job_id, lock=True)
    job = get(session, job_id)
    if job.due_at is None or job.due_at > now:
        return
    if job.state == "scheduled":
        start(session, job_id, now=now)
    elif job.state in RUNNING:
        _end(session, job_id, to="expired", now=now)
    elif job.state == "draft":
        _end(session, job_id, to="cancelled", now=now)
    elif job.state == "closing":
        job.due_at = now + CLOSING_CHECK
        follow(session, job, task, now=now)


def follow(session: Session, job: Job, task: Task, *, now: datetime, tell_filled: bool = True) -> None:
    """Bring the job's state after its task's counts: filled, open again, completed."""
    if task.approved == task.target and job.state in ("open", "filled", "paused"):
        tasks.close_doors(session, job.id)
        states.move(session, Job, job.id, along=JOB, to="closing", due_at=now)
    if job.state == "closing" and task.assigned + task.pending == 0:
        states.move(session, Job, job.id, along=JOB, to="completed", ended_at=now)
        _tell(session, "job.completed", job, approved=task.approved)
    elif job.state == "open" and task.taken == task.target:
        states.move(session, Job, job.id, along=JOB, to="filled", due_at=job.ends_at)
        if tell_filled:
            _tell(session, "job.filled", job)
    elif job.state == "filled" and task.taken < task.target:
        states.move(session, Job, job.id, along=JOB, to="open", due_at=job.ends_at)


def slot_freed(session: Session, job: Job, task: Task, *, cause: str, now: datetime) -> None:
    """A slot came back: to the feed while the job runs, as money to the wallet once it has ended."""
    if job.state in ENDED and not job.test:
        escrow.refund(
            session,
            organization_id=job.organization_id,
            job_id=job.id,
            cents=job.buyer_cents,
            cause=f"freed:{cause}",
            now=now,
        )
    follow(session, job, task, now=now)


def get(session: Session, job_id: UUID, *, organization_id: UUID | None = None) -> Job:
    """
    A job, optionally only if it belongs to the organization.

    :raises NoSuchJob: unknown, or somebody else's
    """
    job = session.get(Job, job_id, populate_existing=True)
    if job is None or (organization_id is not None and job.organization_id != organization_id):
        raise NoSuchJob
    return job


def is_test(session: Session, job_id: UUID) -> bool:
    """Whether the job is a dry run, which moves no money. That never changes, so what the session knows will do."""
    return session.get_one(Job, job_id).test


def of_organization(organization_id: UUID, *, state: str | None = None, test: bool | None = None) -> Select[Job]:
    """The buyer's jobs, for a page."""
    statement = select(Job).where(Job.organization_id == organization_id)
    if state is not None:
        statement = statement.where(Job.state == state)
    return statement if test is None else statement.where(Job.test.is_(test))


def expected_escrow(session: Session) -> dict[UUID, int]:
    """What the escrow of each published job must hold, in cents: the slots that may still be paid."""
    open_slots = Task.target - Task.approved
    in_work = Task.assigned + Task.pending
    rows = session.execute(
        select(Job.id, func.sum(Job.buyer_cents * open_slots), func.sum(Job.buyer_cents * in_work), Job.state)
        .join(Task, Task.job_id == Job.id)
        .where(Job.state != "draft", ~Job.test, Job.ends_at.is_not(None))
        .group_by(Job.id)
    )
    return {id: int(ended if state in ENDED else running) for id, running, ended, state in rows}


def _give_back_free_slots(session: Session, job: Job, task: Task, *, now: datetime) -> None:
    cents = (task.target - task.taken) * job.buyer_cents
    if cents and not job.test:
        escrow.refund(
            session,
            organization_id=job.organization_id,
            job_id=job.id,
            cents=cents,
            cause=f"end:{job.id}",
            now=now,
        )


def _tell(session: Session, type: str, job: Job, **data: Any) -> None:
    outbox.record(
        session,
        type,
        subject=ids.show("job", job.id),
        organization_id=job.organization_id,
        data={"job": ids.show("job", job.id), "state": job.state, "test": job.test, **data},
    )
