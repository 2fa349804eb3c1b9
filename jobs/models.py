"""Tables of the work. Only `jobs` queries and writes them; callers above get rows as values."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, INT4MULTIRANGE, JSONB, Range
from sqlalchemy.orm import Mapped, mapped_column

from infra.db import Base
from infra.states import Stateful
from jobs.lifecycle import ASSIGNMENT, HOLDING, JOB, SUBMISSION

_HOLDING = ", ".join(f"'{state}'" for state in sorted(HOLDING))


class Organization(Base):
    """A buyer, with the scorecard that workers see."""

    __tablename__ = "organizations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[datetime]
    decided: Mapped[int] = mapped_column(server_default="0")
    approval_rate: Mapped[float | None]
    median_decision_seconds: Mapped[float | None]


class Member(Base):
    """An e-mail address that belongs to a buyer: its worker never sees that buyer's jobs."""

    __tablename__ = "members"

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id", ondelete="CASCADE"), primary_key=True)
    email: Mapped[str] = mapped_column(primary_key=True, index=True)


class Job(Stateful):
    """
    What a buyer orders. Money columns are cents per submission, fixed when the job is made. `cells` are the H3 cells that
    cover its area; the feed looks for those a worker stands in.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        *JOB.constraints(),
        CheckConstraint("mod(files_needed, files_per_submission) = 0", name="files_divide"),
        CheckConstraint("price_per_file_cents BETWEEN 10 AND 50000", name="price_in_range"),
        Index(None, "organization_id", "id"),
        Index("ix_jobs_open_cells", "cells", postgresql_using="gin", postgresql_where=text("state = 'open'")),
    )

    organization_id: Mapped[UUID] = mapped_column(ForeignKey("organizations.id"))
    type: Mapped[str]
    title: Mapped[str]
    description: Mapped[str]
    worker_guidelines: Mapped[str | None]
    scoring_criteria: Mapped[str | None]
    accepted_formats: Mapped[list[str]]
    files_needed: Mapped[int]
    files_per_submission: Mapped[int]
    price_per_file_cents: Mapped[int]
    fee_mode: Mapped[str]
    buyer_cents: Mapped[int]
    worker_cents: Mapped[int]
    fee_cents: Mapped[int]
    min_star_rating: Mapped[int]
    min_width: Mapped[int | None]
    min_height: Mapped[int | None]
    location: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    area: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    radius_km: Mapped[float | None]
    cells: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    starts_at: Mapped[datetime | None]
    deadline: Mapped[datetime | None]
    posting_time_limit_minutes: Mapped[int]
    task_time_limit_minutes: Mapped[int]
    max_workers: Mapped[int | None]
    max_submissions_per_worker: Mapped[int | None]
    priority: Mapped[str]
    audience: Mapped[dict[str, Any]]
    tech_constraints: Mapped[dict[str, Any]]
    meta: Mapped[dict[str, Any]] = mapped_column("metadata")
    test: Mapped[bool]
    test_emails: Mapped[list[str]]
    created_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class Task(Base):
    """
    One unit that needs N accepted submissions; a collection job has one. `free` holds the numbers of the slots nobody
    holds, so that one guarded UPDATE both chooses a slot and takes it.
    """

    __tablename__ = "tasks"
    __table_args__ = (
        CheckConstraint("assigned >= 0 AND pending >= 0 AND approved >= 0", name="counts_not_negative"),
        CheckConstraint("assigned + pending + approved <= target", name="never_over_target"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), index=True)
    target: Mapped[int]
    claimable: Mapped[bool]
    assigned: Mapped[int]
    pending: Mapped[int]
    approved: Mapped[int]
    newcomer_quota: Mapped[int]
    newcomer_taken: Mapped[int]
    free: Mapped[Any] = mapped_column(INT4MULTIRANGE())

    @property
    def taken(self) -> int:
        return self.assigned + self.pending + self.approved


class Assignment(Stateful):
    """One worker's exclusive, expiring claim on one slot of a task. `due_at` is when the claim runs out."""

    __tablename__ = "assignments"
    __table_args__ = (
        *ASSIGNMENT.constraints(),
        Index(
            "uq_assignments_slot_held", "task_id", "slot", unique=True, postgresql_where=text(f"state IN ({_HOLDING})")
        ),
        Index("ix_assignments_worker_open", "worker_id", postgresql_where=text("state = 'claimed'")),
        Index(None, "worker_id", "id"),
        Index(None, "job_id", "worker_id"),
    )

    task_id: Mapped[UUID] = mapped_column(ForeignKey("tasks.id"))
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    worker_id: Mapped[UUID]
    slot: Mapped[int]
    newcomer: Mapped[bool]
    position: Mapped[dict[str, Any]]
    attempts: Mapped[int]
    claimed_at: Mapped[datetime]


class Submission(Stateful):
    """What a worker handed in for an assignment, and what became of it."""

    __tablename__ = "submissions"
    __table_args__ = (
        *SUBMISSION.constraints(),
        UniqueConstraint("worker_id", "client_id"),
        Index(
            "uq_submissions_assignment_live",
            "assignment_id",
            unique=True,
            postgresql_where=text("state IN ('pending', 'in_review', 'approved')"),
        ),
        Index(None, "job_id", "id"),
        Index(None, "worker_id", "id"),
        Index(None, "organization_id", "id"),
    )

    client_id: Mapped[str]
    assignment_id: Mapped[UUID] = mapped_column(ForeignKey("assignments.id"))
    task_id: Mapped[UUID]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id"))
    organization_id: Mapped[UUID]
    worker_id: Mapped[UUID]
    attempt: Mapped[int]
    files: Mapped[int]
    buyer_cents: Mapped[int]
    worker_cents: Mapped[int]
    fee_cents: Mapped[int]
    trust: Mapped[str]
    position: Mapped[dict[str, Any]]
    region: Mapped[str | None]
    submitted_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None]
    stars: Mapped[int | None]
    reason: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


class Boundary(Base):
    """A city's real outline, imported from GeoJSON; it wins over the radius rule."""

    __tablename__ = "boundaries"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    city_key: Mapped[str] = mapped_column(unique=True)
    country: Mapped[str]
    geojson: Mapped[dict[str, Any]]
    source: Mapped[str]
    imported_at: Mapped[datetime]


def all_slots(target: int) -> list[Range[int]]:
    """The multirange of a task nobody has claimed from: slots 1 to target."""
    return [Range(1, target + 1)]
