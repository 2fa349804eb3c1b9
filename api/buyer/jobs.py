"""Buyers' jobs: order, publish, watch, stop."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import EmailStr, Field, StringConstraints, field_validator
from sqlalchemy.orm import Session

from api import paging
from api.auth.callers import Buyer, BuyerCaller
from api.edge import get, post
from api.paging import Cursor, Limit
from api.schemas import JobId, Model, OrganizationId, Page, Timestamp
from ingest import uploads
from jobs import jobs, tasks
from jobs.models import Job

Cents = Annotated[int, Field(ge=10, le=50_000, description="cents for one accepted file")]
Side = Annotated[int, Field(ge=1, le=20_000, description="pixels, after the rotation Exif asks for")]
State = Literal["draft", "scheduled", "open", "filled", "paused", "closing", "completed", "cancelled", "expired"]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=40)]
MetadataValue = Annotated[str, StringConstraints(max_length=500)] | int | float | bool


class Place(Model):
    """A radius around a point, a city, or both: then both must hold."""

    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    radius_km: Annotated[float, Field(ge=0.01, le=2_000)] | None = None
    city: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    state: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = None
    country: Annotated[str, StringConstraints(min_length=2, max_length=100)] | None = None


class Audience(Model):
    """Whom the job is for."""

    diamond_only: Annotated[bool, Field(description="a geographic exclusive; needs a location")] = False


class TechConstraints(Model):
    """What the phone must be."""

    platforms: Annotated[list[Literal["ios", "android"]], Field(min_length=1, max_length=2)] | None = None
    attestation: Annotated[
        Literal["any", "required"], Field(description="required: an unsigned submission is refused at once")
    ] = "any"


class JobDraft(Model):
    """A collection job: photos, so many, so much each, there and then."""

    type: Literal["collection"] = "collection"
    title: Annotated[str, StringConstraints(min_length=1, max_length=160, strip_whitespace=True)]
    description: Annotated[str, StringConstraints(min_length=10, max_length=5_000)]
    worker_guidelines: Annotated[str, StringConstraints(max_length=5_000)] | None = None
    scoring_criteria: Annotated[str, StringConstraints(max_length=1_000)] | None = None
    accepted_formats: Annotated[list[str], Field(min_length=1, max_length=10, description="MIME types")] = Field(
        default_factory=lambda: ["image/jpeg", "image/png", "image/webp", "image/heic"]
    )
    files_needed: Annotated[int, Field(ge=1, le=10_000)]
    files_per_submission: Annotated[int, Field(ge=1, le=5)] = 1
    price_per_file_cents: Cents
    fee_mode: Literal["inclusive", "on_top"] = "inclusive"
    min_star_rating: Annotated[int, Field(ge=1, le=5)] = 3
    min_width: Side | None = None
    min_height: Side | None = None
    location: Place | None = None
    starts_at: Timestamp | None = None
    deadline: Timestamp | None = None
    posting_time_limit_minutes: Annotated[int, Field(ge=5, le=10_080)] = 10_080
    task_time_limit_minutes: Annotated[int, Field(ge=1, le=1_440)] = 30
    max_workers: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_submissions_per_worker: Annotated[int, Field(ge=1, le=10_000)] | None = None
    priority: Literal["low", "normal", "high", "urgent"] = "normal"
    audience: Audience = Audience()
    tech_constraints: TechConstraints = TechConstraints()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=20)] = Field(default_factory=dict)
    test: Annotated[bool, Field(description="dry run: same gates, no money, seen by test_emails only")] = False
    test_emails: Annotated[list[EmailStr], Field(max_length=50)] = Field(default_factory=list)
    publish: Annotated[bool, Field(description="publish at once")] = False

    @field_validator("accepted_formats")
    @classmethod
    def _known_formats(cls, formats: list[str]) -> list[str]:
        unknown = sorted(set(formats) - set(uploads.TYPES))
        if unknown:
            raise ValueError(f"{', '.join(unknown)} cannot be collected; these can: {', '.join(uploads.TYPES)}")
        return sorted(set(formats))

    def draft(self) -> jobs.Draft:
        """The same, as the work takes it."""
        values = self.model_dump(exclude={"type", "publish"}, exclude_none=True)
        values["starts_at"], values["deadline"] = self.starts_at, self.deadline
        return jobs.Draft(**values)


class Progress(Model):
    """Slots of the job. One slot is one submission of `files_per_submission` files."""

    target: int
    assigned: int
    pending: int
    approved: int
    free: int


class JobView(Model):
    object: Literal["job"] = "job"
    id: JobId
    organization_id: OrganizationId
    type: str
    state: State
    title: str
    description: str
    worker_guidelines: str | None
    scoring_criteria: str | None
    accepted_formats: list[str]
    files_needed: int
    files_per_submission: int
    price_per_file_cents: int
    fee_mode: str
    submission_cost_cents: Annotated[int, Field(description="what one accepted submission costs you, fee included")]
    submission_pay_cents: Annotated[int, Field(description="what of it the worker gets")]
    min_star_rating: int
    min_width: int | None
    min_height: int | None
    location: dict[str, Any] | None
    starts_at: Timestamp | None
    deadline: Timestamp | None
    posting_time_limit_minutes: int
    task_time_limit_minutes: int
    max_workers: int | None
    max_submissions_per_worker: int | None
    priority: str
    audience: dict[str, Any]
    tech_constraints: dict[str, Any]
    metadata: dict[str, Any]
    test: bool
    progress: Progress
    created_at: Timestamp
    published_at: Timestamp | None
    ends_at: Timestamp | None
    ended_at: Timestamp | None


@post("/v1/jobs", who=Buyer("jobs:write"), summary="Create a job, as a draft or published at once")
def create(session: Session, caller: BuyerCaller, now: datetime, data: JobDraft) -> JobView:
    """
    Publishing moves the cost of every slot from the wallet into the job's escrow; 402 if the wallet is short. A test key
    makes test jobs only.
    """
    draft = replace(data.draft(), test=True) if caller.mode == "test" else data.draft()
    job = jobs.create(session, organization_id=caller.organization_id, draft=draft, now=now)
    if data.publish:
        job = jobs.publish(session, job.id, now=now)
    return show(session, job)


@get("/v1/jobs", who=Buyer("jobs:read"), summary="List your jobs, newest first")
def index(
    session: Session, caller: BuyerCaller, state: State | None = None, cursor: Cursor | None = None, limit: Limit = 20
) -> Page[JobView]:
    """All of them, or those in one state."""
    wanted = jobs.of_organization(caller.organization_id, state=state, test=True if caller.mode == "test" else None)
    found = paging.page(session, wanted, Job.id, cursor, limit)
    return found.shown(lambda job: show(session, job))


@get("/v1/jobs/{job_id:str}", who=Buyer("jobs:read"), summary="Read a job", waits=True)
def read(session: Session, caller: BuyerCaller, job_id: JobId) -> JobView:
    """With `Prefer: wait=N` the answer comes when the job changes, or after N seconds."""
    return show(session, own(session, caller, job_id))


@post("/v1/jobs/{job_id:str}/publish", who=Buyer("jobs:write"), status=200, summary="Publish a draft")
def publish(session: Session, caller: BuyerCaller, now: datetime, job_id: JobId) -> JobView:
    """Escrow is filled from the wallet; the job opens, or waits for `starts_at`."""
    return show(session, jobs.publish(session, own(session, caller, job_id).id, now=now))


@post("/v1/jobs/{job_id:str}/pause", who=Buyer("jobs:write"), status=200, summary="Hide a job from new workers")
def pause(session: Session, caller: BuyerCaller, job_id: JobId) -> JobView:
    """Running assignments may finish."""
    return show(session, jobs.pause(session, own(session, caller, job_id).id))


@post("/v1/jobs/{job_id:str}/resume", who=Buyer("jobs:write"), status=200, summary="Show a paused job again")
def resume(session: Session, caller: BuyerCaller, now: datetime, job_id: JobId) -> JobView:
    """Workers can claim again."""
    return show(session, jobs.resume(session, own(session, caller, job_id).id, now=now))


@post("/v1/jobs/{job_id:str}/close", who=Buyer("jobs:write"), status=200, summary="Take no new work and finish")
def close(session: Session, caller: BuyerCaller, now: datetime, job_id: JobId) -> JobView:
    """Free slots are refunded now; the job completes when the running ones are decided."""
    return show(session, jobs.close(session, own(session, caller, job_id).id, now=now))


@post("/v1/jobs/{job_id:str}/cancel", who=Buyer("jobs:write"), status=200, summary="Cancel a job")
def cancel(session: Session, caller: BuyerCaller, now: datetime, job_id: JobId) -> JobView:
    """
    Free slots are refunded now. Work already claimed or handed in is still decided, and paid or refunded then.
    """
    return show(session, jobs.cancel(session, own(session, caller, job_id).id, now=now))


def show(session: Session, job: Job) -> JobView:
    """A job as its buyer sees it."""
    task = tasks.of_job(session, job.id)
    progress = Progress(
        target=task.target,
        assigned=task.assigned,
        pending=task.pending,
        approved=task.approved,
        free=task.target - task.taken,
    )
    same = {name: getattr(job, name) for name in JobView.model_fields if name in Job.__mapper__.columns}
    return JobView(
        **same | {"metadata": job.meta},
        progress=progress,
        submission_cost_cents=job.buyer_cents,
        submission_pay_cents=job.worker_cents,
    )


def own(session: Session, caller: BuyerCaller, job_id: UUID) -> Job:
    """
    The caller's job. A test key reaches test jobs only, so that it can never move money.

    :raises NoSuchJob: unknown, or not theirs
    """
    job = jobs.get(session, job_id, organization_id=caller.organization_id)
    if caller.mode == "test" and not job.test:
        raise jobs.NoSuchJob
    return job
