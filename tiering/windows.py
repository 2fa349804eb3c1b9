"""
Windows: who sees a job how long after its publication, and which slots wait for newcomers.

Gold and Diamond see it at once, Silver after 60 s, everyone after 300 s, by the server's clock.

A share of the slots is held for newcomers (workers with fewer than 3 assignments) until 30 minutes after publication. The
held slots do not open a window early: a newcomer is New or Bronze and sees the job at 300 s like everyone of that tier.
The better tiers cannot take those slots before that, which is what makes them still be there; between 5 and 30 minutes
only newcomers can claim them, and then they are free for all.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from infra.settings import settings
from tiering.tiers import TIERS, Tier, at_least


def opens_after(tier: Tier) -> float:
    """Seconds from publication until this tier sees a job."""
    if at_least(tier, "gold"):
        return 0.0
    if at_least(tier, "silver"):
        return settings().window_silver_seconds
    return settings().window_everyone_seconds


def opens_at(tier: Tier, published_at: datetime) -> datetime:
    """The first moment at which this tier sees a job."""
    return published_at + timedelta(seconds=opens_after(tier))


def open_for(tier: Tier, published_at: datetime, now: datetime) -> bool:
    """Whether this tier sees a job now."""
    return now >= opens_at(tier, published_at)


def published_by(tier: Tier, now: datetime) -> datetime:
    """The same as a bound for a query: this tier sees what was published at this moment or earlier."""
    return now - timedelta(seconds=opens_after(tier))


def visible_after() -> Mapping[Tier, float]:
    """Seconds from publication for every tier, for people to read."""
    return {tier: opens_after(tier) for tier in TIERS}


def is_newcomer(assignments: int) -> bool:
    """Whether a worker with this many assignments so far may take held slots."""
    return assignments < settings().newcomer_assignments


def newcomer_quota(target: int, needed: Tier = "new") -> int:
    """
    How many of a job's slots are held for newcomers: 10 % rounded down, but at least one from 10 slots up.

    A share of 0 switches the quota off, and a job only for better tiers holds nothing for those who may not take it.

    :param needed: the lowest tier that may take the job
    """
    if needed != "new":
        return 0
    numbers = settings()
    share = Decimal(str(numbers.newcomer_share))  # in floats 0.29 of 100 is 28
    if share and target >= numbers.newcomer_from_slots:
        return max(1, int(share * target))
    return int(share * target)


def held_for_newcomers(target: int, taken_by_newcomers: int, published_at: datetime, now: datetime) -> int:
    """How many slots are still held for newcomers now."""
    if now >= published_at + timedelta(minutes=settings().newcomer_minutes):
        return 0
    return max(0, newcomer_quota(target) - taken_by_newcomers)


def claimable(free: int, *, held: int, newcomer: bool) -> int:
    """How many of the free slots this worker may take."""
    return free if newcomer else max(0, free - held)
