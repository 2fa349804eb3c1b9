"""Caps: how many submissions a worker may make in one UTC day, over the whole platform."""

import math
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from infra.errors import Exhausted
from infra.settings import settings
from tiering.models import DailyCount
from tiering.tiers import Tier, at_least


class DailyCapReached(Exhausted):
    """You have made all submissions of today."""


def cap(tier: Tier) -> int:
    """Submissions a day for this tier."""
    return settings().daily_cap_from_silver if at_least(tier, "silver") else settings().daily_cap


def take(session: Session, *, worker_id: UUID, tier: Tier, now: datetime) -> int:
    """
    Count one submission of today. Returns how many that makes.

    One guarded upsert: of racers at the cap one gets the last place, and a rolled-back submission gives its place back.

    :raises DailyCapReached: with the limit, when it resets and the seconds until then
    """
    limit = cap(tier)
    placed = (
        insert(DailyCount)
        .values(worker_id=worker_id, day=day(now), count=1)
        .on_conflict_do_update(
            index_elements=[DailyCount.worker_id, DailyCount.day],
            set_={"count": DailyCount.count + 1},
            where=DailyCount.count < limit,
        )
        .returning(DailyCount.count)
    )
    count = session.execute(placed).scalar_one_or_none()
    if count is None:
        again = resets_at(now)
        raise DailyCapReached(
            f"{limit} submissions a day are allowed in your tier. You can go on at 00:00 UTC.",
            limit=limit,
            resets_at=again.isoformat().replace("+00:00", "Z"),
            retry_after=math.ceil((again - now).total_seconds()),
        )
    return count


def used(session: Session, worker_id: UUID, now: datetime) -> int:
    """How many submissions of today are made."""
    today = select(DailyCount.count).where(DailyCount.worker_id == worker_id, DailyCount.day == day(now))
    return session.execute(today).scalar_one_or_none() or 0


def day(now: datetime) -> date:
    """The UTC day a moment belongs to."""
    return now.astimezone(UTC).date()


def resets_at(now: datetime) -> datetime:
    """When the count starts anew: the next 00:00 UTC."""
    return datetime.combine(day(now) + timedelta(days=1), time(), tzinfo=UTC)
