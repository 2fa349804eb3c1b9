"""
The feed: the jobs a worker may take here and now, best first.

Rank, higher first (also in docs/architecture.md):

    pay per minute  = worker's cents per submission / (minutes the work takes + 3 minutes per km of way)
    rank            = pay per minute * priority * (1 + 0.25 * freshness) * (0.75 + 0.25 * left)

where the work takes the smaller of the task's time limit and 10 minutes, priority is 0.8, 1, 1.25 or 1.5, freshness halves
every 24 hours since publication, and left is the share of slots nobody holds, rounded up to quarters. For a newcomer the
jobs that hold slots for newcomers stand first.

A page is stable: the cursor carries the minute and the position the first page was ranked for, so that time and movement do
not reorder the pages that follow. Only a job whose free share crosses a quarter meanwhile can move.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Select, and_, case, func, literal, or_, select, tuple_
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from infra.settings import settings
from jobs import cells, geo, places, tasks
from jobs.geo import Point
from jobs.models import Job, Organization, Task
from tiering import eligibility, tiers, windows
from tiering.models import Worker

MINUTES_OF_WORK = 10.0
MINUTES_PER_KM = 3.0
PRIORITY = {"low": 0.8, "normal": 1.0, "high": 1.25, "urgent": 1.5}
FRESH_HALF_LIFE_HOURS = 24.0
NEWCOMERS_FIRST = 1e9  # above any rank: a Diamond's best job pays 50,000 cents a file

_BATCH = 2  # pages read ahead, because boundaries are checked after the query


@dataclass(frozen=True)
class Place:
    """Where and when a feed was ranked; a cursor carries it from page to page."""

    point: Point
    minute: datetime

    @classmethod
    def now(cls, point: Point, now: datetime) -> "Place":
        return cls(point, now.replace(second=0, microsecond=0))


@dataclass(frozen=True)
class Entry:
    """One job in a worker's feed. Distance in kilometres to the centre of its area, None when it may be done anywhere."""

    job: Job
    organization: Organization
    distance_km: float | None
    slots_left: int
    rank: float


def read(
    session: Session,
    worker: Worker,
    *,
    platform: str | None,
    place: Place,
    organizations: Sequence[UUID],
    after: tuple[float, UUID] | None,
    limit: int,
    now: datetime,
) -> list[Entry]:
    """
    Up to `limit` jobs after the given rank and id.

    :param organizations: the buyers this worker belongs to; their jobs are left out
    """
    entries: list[Entry] = []
    batch = limit * _BATCH
    while True:
        rows = session.execute(_query(worker, platform, place, organizations, after, batch, now)).all()
        for job, task, organization, distance, rank in rows:
            if not _in_area(job, place.point):
                continue
            left = windows.claimable(task.target - task.taken, held=_held(job, task, now), newcomer=_newcomer(worker))
            entries.append(Entry(job, organization, distance, left, rank))
        if len(entries) >= limit or len(rows) < batch:
            return entries[:limit]
        after = (rows[-1].rank, rows[-1][0].id)


def _query(
    worker: Worker,
    platform: str | None,
    place: Place,
    organizations: Sequence[UUID],
    after: tuple[float, UUID] | None,
    limit: int,
    now: datetime,
) -> Select[Job, Task, Organization, float | None, float]:
    here = sql_cast(cells.ancestors(place.point), ARRAY(BigInteger))
    distance = case(
        (Job.latitude.is_(None), None), else_=geo.distance_km_sql(Job.latitude, Job.longitude, place.point)
    ).label("distance_km")
    rank = _rank(worker, distance, place).label("rank")
    found = (
        select(Job.id, Task.id.label("task_id"), distance, rank)
        .join(Task, Task.job_id == Job.id)
        .where(
            Job.state == "open",
            Job.cells.op("&&")(here),
            *_may_take(worker, platform, organizations, now),
            _has_slot(worker, now),
        )
        .subquery()
    )
    page = select(Job, Task, Organization, found.c.distance_km, found.c.rank)
    page = page.join(found, found.c.id == Job.id).join(Task, Task.id == found.c.task_id)
    page = page.join(Organization, Organization.id == Job.organization_id)
    page = page.where(or_(Job.radius_km.is_(None), found.c.distance_km <= Job.radius_km))
    if after is not None:
        page = page.where(tuple_(found.c.rank, Job.id) < tuple_(literal(after[0]), literal(after[1])))
    return page.order_by(found.c.rank.desc(), Job.id.desc()).limit(limit)


def _rank(worker: Worker, distance: ColumnElement[float | None], place: Place) -> ColumnElement[Any]:
    work = func.least(Job.task_time_limit_minutes, MINUTES_OF_WORK)
    per_minute = Job.worker_cents / (work + MINUTES_PER_KM * func.coalesce(distance, 0.0))
    age_hours = func.greatest(func.extract("epoch", literal(place.minute) - Job.published_at) / 3_600.0, 0.0)
    fresh = func.power(0.5, func.least(age_hours / FRESH_HALF_LIFE_HOURS, 50.0))
    free = Task.target - Task.assigned - Task.pending - Task.approved
    left = func.ceil(4.0 * free / Task.target) / 4.0
    priority = case(PRIORITY, value=Job.priority, else_=1.0)
    rank = per_minute * priority * (1 + 0.25 * fresh) * (0.75 + 0.25 * left)
    if _newcomer(worker):
        holds = and_(Task.newcomer_quota > Task.newcomer_taken, _held_until() > place.minute)
        rank = rank + case((holds, NEWCOMERS_FIRST), else_=0.0)
    return func.round(rank * 1_000_000) / 1_000_000.0


def _may_take(
    worker: Worker, platform: str | None, organizations: Sequence[UUID], now: datetime
) -> list[ColumnElement[bool]]:
    """`tiering.eligibility.check` as a query; a test holds the two against each other."""
    may = [
        Job.published_at <= windows.published_by(worker.tier, now),
        or_(~Job.test, Job.test_emails.contains([worker.email.lower()])),
        or_(~Job.tech_constraints.has_key("platforms"), Job.tech_constraints["platforms"].contains([platform])),
    ]
    if not tiers.at_least(worker.tier, eligibility.required_tier(settings().high_value_cents)):
        may.append(Job.price_per_file_cents < settings().high_value_cents)
    if not tiers.at_least(worker.tier, "diamond"):
        may.append(~Job.audience.contains({"diamond_only": True}))
    if organizations:
        may.append(Job.organization_id.not_in(organizations))
    return may


def _has_slot(worker: Worker, now: datetime) -> ColumnElement[bool]:
    left = Task.target - Task.assigned - Task.pending - Task.approved
    if _newcomer(worker):
        return and_(Task.claimable, left > 0)
    held = case((_held_until() > now, func.greatest(Task.newcomer_quota - Task.newcomer_taken, 0)), else_=0)
    return and_(Task.claimable, left > held)


def _held_until() -> ColumnElement[datetime | None]:
    return Job.published_at + timedelta(minutes=settings().newcomer_minutes)


def _held(job: Job, task: Task, now: datetime) -> int:
    return max(0, task.newcomer_quota - task.newcomer_taken) if tasks.held_for_newcomers(job, now) else 0


def _newcomer(worker: Worker) -> bool:
    return windows.is_newcomer(worker.assignments_count)


def _in_area(job: Job, point: Point) -> bool:
    """The query has checked one disc exactly; boundaries and a second shape are checked here."""
    if job.area is None or (job.radius_km is not None and len(job.area["shapes"]) == 1):
        return True
    return geo.contains(places.area_from_json(job.area), point)
