"""Tables of verdicts. Only `quality` queries and writes them; callers above get rows as values."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from infra.db import Base
from infra.states import Stateful, lifecycle

REVIEW = lifecycle("review", open="open decided", decided="")


class FindingRow(Base):
    """What one gate said of one submission or file. Kept for ever: every rejection can be explained by it."""

    __tablename__ = "findings"
    __table_args__ = (
        UniqueConstraint("submission_id", "gate", "code", "media_id", postgresql_nulls_not_distinct=True),
        CheckConstraint("outcome IN ('pass', 'reject', 'review', 'signal')", name="outcome_known"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    submission_id: Mapped[UUID]
    media_id: Mapped[UUID | None]
    gate: Mapped[str]
    version: Mapped[str]
    outcome: Mapped[str]
    code: Mapped[str]
    measured: Mapped[Any] = mapped_column(JSONB(none_as_null=True), nullable=True)
    limit: Mapped[Any] = mapped_column(JSONB(none_as_null=True), nullable=True)
    feedback: Mapped[str]
    shadow: Mapped[bool]
    created_at: Mapped[datetime]


class ScoreRow(Base):
    """What one scorer said of one file."""

    __tablename__ = "scores"
    __table_args__ = (UniqueConstraint("media_id", "scorer", "version"), Index(None, "submission_id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    submission_id: Mapped[UUID]
    media_id: Mapped[UUID]
    scorer: Mapped[str]
    version: Mapped[str]
    dimensions: Mapped[dict[str, Any]]
    abstains: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Strike(Base):
    """One case of misconduct. A lifted strike stays on record and does not count."""

    __tablename__ = "strikes"
    __table_args__ = (Index("ix_strikes_standing", "worker_id", postgresql_where=text("lifted_at IS NULL")),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID]
    submission_id: Mapped[UUID] = mapped_column(unique=True)
    code: Mapped[str]
    written: Mapped[str]
    created_at: Mapped[datetime]
    lifted_at: Mapped[datetime | None]


class Review(Stateful):
    """Something a human must decide: a submission, or a ban. `due_at` is when it becomes urgent."""

    __tablename__ = "reviews"
    __table_args__ = (
        *REVIEW.constraints(),
        CheckConstraint("kind IN ('submission', 'ban')", name="kind_known"),
        Index("uq_reviews_open", "kind", "subject_id", unique=True, postgresql_where=text("state = 'open'")),
        Index(None, "worker_id"),
    )

    kind: Mapped[str]
    subject_id: Mapped[UUID]
    worker_id: Mapped[UUID]
    job_id: Mapped[UUID | None]
    reasons: Mapped[list[Any]]
    held_cents: Mapped[int]
    escalations: Mapped[int]
    opened_at: Mapped[datetime]
    decision: Mapped[str | None]
    code: Mapped[str | None]
    note: Mapped[str | None]
    decided_by: Mapped[UUID | None]
    decided_at: Mapped[datetime | None]
