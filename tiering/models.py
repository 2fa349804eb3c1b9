"""Tables of tiering. Private to this package: others hold a worker's id and ask the functions here."""

from datetime import date, datetime
from typing import get_args
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from infra.db import Base
from tiering.tiers import Tier

_tier_names = ", ".join(f"'{tier}'" for tier in get_args(Tier))


class Worker(Base):
    """
    A person with the mobile app.

    `state` is standing, not a lifecycle: neither value waits for a deadline, and a ban can be lifted. So it is a plain
    column, moved by guarded UPDATEs in `standing.py`.
    """

    __tablename__ = "workers"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'banned')", name="state_known"),
        CheckConstraint(
            "(state = 'banned') = (banned_at IS NOT NULL) AND (banned_at IS NULL) = (ban_reason IS NULL)",
            name="ban_has_time_and_reason",
        ),
        CheckConstraint(f"tier IN ({_tier_names})", name="tier_known"),
        CheckConstraint("assignments_count >= 0", name="assignments_not_negative"),
        CheckConstraint(
            "num_nulls(last_latitude, last_longitude, last_accuracy_m, last_fix_at) IN (0, 4)", name="fix_is_whole"
        ),
        Index("uq_workers_lower_email", text("lower(email)"), unique=True),
        # What the clock reads to find demotions whose grace is over.
        Index(None, "below_since", postgresql_where=text("below_since IS NOT NULL AND state = 'active'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    state: Mapped[str]
    tier: Mapped[Tier] = mapped_column(Text)
    tier_since: Mapped[datetime]
    below_since: Mapped[datetime | None]
    """When the numbers fell below the gate of the present tier; the grace before demotion counts from here."""
    banned_at: Mapped[datetime | None]
    ban_reason: Mapped[str | None]
    last_latitude: Mapped[float | None]
    last_longitude: Mapped[float | None]
    last_accuracy_m: Mapped[float | None]
    last_fix_at: Mapped[datetime | None]
    assignments_count: Mapped[int]
    created_at: Mapped[datetime]


class Outcome(Base):
    """What scoring said of one submission. Submissions rejected before scoring have none."""

    __tablename__ = "outcomes"
    __table_args__ = (
        CheckConstraint("stars BETWEEN 1 AND 5", name="stars_in_range"),
        # Holds everything the approval rate needs, in its order: an index-only scan of at most one window.
        Index(
            "ix_outcomes_counted",
            "worker_id",
            text("scored_at DESC"),
            text("submission_id DESC"),
            postgresql_include=["stars"],
            postgresql_where=text("voided_at IS NULL"),
        ),
    )

    submission_id: Mapped[UUID] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID] = mapped_column(ForeignKey("workers.id"))
    stars: Mapped[int]
    scored_at: Mapped[datetime]
    voided_at: Mapped[datetime | None]
    """Set when an appeal or a dispute took the score back: it no longer counts."""


class TierChange(Base):
    """One promotion or demotion, with the numbers behind it."""

    __tablename__ = "tier_changes"
    __table_args__ = (
        CheckConstraint(f"from_tier IN ({_tier_names}) AND to_tier IN ({_tier_names})", name="tiers_known"),
        CheckConstraint("from_tier <> to_tier", name="tiers_differ"),
        CheckConstraint("reason IN ('gate_reached', 'below_gate')", name="reason_known"),
        Index(None, "worker_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    worker_id: Mapped[UUID] = mapped_column(ForeignKey("workers.id"))
    from_tier: Mapped[Tier] = mapped_column(Text)
    to_tier: Mapped[Tier] = mapped_column(Text)
    approval_rate: Mapped[float]
    scored: Mapped[int]
    reason: Mapped[str]
    at: Mapped[datetime]


class DailyCount(Base):
    """How many submissions a worker has made on one UTC day."""

    __tablename__ = "daily_counts"
    __table_args__ = (CheckConstraint("count >= 0", name="count_not_negative"),)

    worker_id: Mapped[UUID] = mapped_column(ForeignKey("workers.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    count: Mapped[int]
