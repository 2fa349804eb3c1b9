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

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Float,
    Integer,
    Row,
    Select,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session, load_only

from infra.settings import settings
from jobs import cells, geo, places, tasks
from jobs.geo import Point
from jobs.lifecycle import HOLDING
from jobs.models import Assignment, Job, Organization, Task
from tiering import eligibility, tiers, windows
from tiering.models import Worker

MINUTES_OF_WORK = 10.0
MINUTES_PER_KM = 3.0
PRIORITY = {"low": 0.8, "normal": 1.0, "high": 1.25, "urgent": 1.5}
FRESH_HALF_LIFE_HOURS = 24.0
NEWCOMERS_FIRST = 1e9  # above any rank: a Diamond's best job pays 50,000 cents a file


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


@dataclass(frozen=True)
class Reader:
    """What the shape of the query depends on; everything else is a parameter, so a shape is built once."""

    newcomer: bool
    high_value: bool
    exclusives: bool

    @classmethod
    def of(cls, worker: Worker) -> "Reader":
        return cls(
            newcomer=windows.is_newcomer(worker.assignments_count),
            high_value=tiers.at_least(worker.tier, eligibility.required_tier(settings().high_value_cents)),
            exclusives=tiers.at_least(worker.tier, "diamond"),
        )


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
    reader = Reader.of(worker)
    held = timedelta(minutes=settings().newcomer_minutes)
    entries: list[Entry] = []
    rank, id = after or (math.inf, UUID(int=2**128 - 1))
    while True:
        values = {
            "cells": cells.ancestors(place.point),
            "latitude": place.point.latitude,
            "longitude": place.point.longitude,
            "minute": place.minute,
            "now": now,
            "published_by": windows.published_by(worker.tier, now),
            "newcomers_from": now - held,
            "ranked_newcomers_from": place.minute - held,
            "high_value_cents": settings().high_value_cents,
            "worker": worker.id,
            "email": [worker.email.lower()],
            "platform": [platform],
            "organizations": list(organizations),
            "after_rank": rank,
            "after_id": id,
            "most": limit,
        }
        rows = session.execute(_statement(reader), values).all()
        entries += [_entry(reader, row, now) for row in rows if _in_area(row.Job, place.point)]
        if len(entries) >= limit or len(rows) < limit:
            return entries[:limit]
        rank, id = rows[-1].rank, rows[-1].Job.id


def _entry(reader: Reader, row: Row[Job, Task, Organization, float | None, float], now: datetime) -> Entry:
    task = row.Task
    held = max(0, task.newcomer_quota - task.newcomer_taken) if tasks.held_for_newcomers(row.Job, now) else 0
    left = windows.claimable(task.target - task.taken, held=held, newcomer=reader.newcomer)
    return Entry(row.Job, row.Organization, row.distance_km, left, row.rank)


@lru_cache
def _statement(reader: Reader) -> Select[Job, Task, Organization, float | None, float]:
    """Rank what may be taken, cut to the page, and only then fetch what is shown."""
    distance = case((Job.latitude.is_(None), None), else_=geo.distance_km_sql(Job.latitude, Job.longitude))
    found = (
        select(
            Job.id,
            Job.radius_km,
            Task.id.label("task_id"),
            distance.label("distance_km"),
            _rank(reader, distance).label("rank"),
        )
        .join(Task, Task.job_id == Job.id)
        .where(Job.state == "open", Job.cells.op("&&")(bindparam("cells", type_=ARRAY(BigInteger))))
        .where(Job.ends_at > bindparam("now", type_=DateTime(timezone=True)))
        .where(*_may_take(reader), _has_slot(reader), *_has_room())
        .subquery()
    )
    after = tuple_(bindparam("after_rank", type_=Float(53)), bindparam("after_id", type_=Uuid()))
    best = (
        select(found)
        .where(or_(found.c.radius_km.is_(None), found.c.distance_km <= found.c.radius_km))
        .where(tuple_(found.c.rank, found.c.id) < after)
        .order_by(found.c.rank.desc(), found.c.id.desc())
        .limit(bindparam("most", type_=Integer))
        .subquery()
    )
    page = select(Job, Task, Organization, best.c.distance_km, best.c.rank)
    page = page.join(best, best.c.id == Job.id).join(Task, Task.id == best.c.task_id)
    page = page.join(Organization, Organization.id == Job.organization_id)
    return page.order_by(best.c.rank.desc(), Job.id.desc()).options(load_only(*_SHOWN))


# The other columns of a job are long and nobody reads them here.
_SHOWN = (
    Job.title,
    Job.description,
    Job.worker_guidelines,
    Job.accepted_formats,
    Job.files_per_submission,
    Job.min_width,
    Job.min_height,
    Job.min_star_rating,
    Job.worker_cents,
    Job.task_time_limit_minutes,
    Job.priority,
    Job.location,
    Job.area,
    Job.radius_km,
    Job.published_at,
    Job.ends_at,
)


def _rank(reader: Reader, distance: ColumnElement[float | None]) -> ColumnElement[Any]:
    work = func.least(Job.task_time_limit_minutes, MINUTES_OF_WORK)
    per_minute = Job.worker_cents / (work + MINUTES_PER_KM * func.coalesce(distance, 0.0))
    minute = bindparam("minute", type_=DateTime(timezone=True))
    age_hours = func.greatest(func.extract("epoch", minute - Job.published_at) / 3_600.0, 0.0)
    fresh = func.power(0.5, func.least(age_hours / FRESH_HALF_LIFE_HOURS, 50.0))
    left = func.ceil(4.0 * _free() / Task.target) / 4.0
    priority = case(PRIORITY, value=Job.priority, else_=1.0)
    rank = per_minute * priority * (1 + 0.25 * fresh) * (0.75 + 0.25 * left)
    if reader.newcomer:
        young = Job.published_at > bindparam("ranked_newcomers_from", type_=DateTime(timezone=True))
        holds = and_(Task.newcomer_quota > Task.newcomer_taken, young)
        rank = rank + case((holds, NEWCOMERS_FIRST), else_=0.0)
    return sql_cast(func.round(rank * 1_000_000) / 1_000_000.0, Float(53))


def _may_take(reader: Reader) -> list[ColumnElement[bool]]:
    """`tiering.eligibility.check` as a query; a test holds the two against each other."""
    may = [
        Job.published_at <= bindparam("published_by", type_=DateTime(timezone=True)),
        or_(~Job.test, Job.test_emails.contains(bindparam("email", type_=JSONB))),
        or_(
            ~Job.tech_constraints.has_key("platforms"),
            Job.tech_constraints["platforms"].contains(bindparam("platform", type_=JSONB)),
        ),
        Job.organization_id != func.all(bindparam("organizations", type_=ARRAY(Uuid()))),
    ]
    if not reader.high_value:
        may.append(Job.price_per_file_cents < bindparam("high_value_cents", type_=Integer))
    if not reader.exclusives:
        may.append(~Job.audience.contains({"diamond_only": True}))
    return may


def _has_slot(reader: Reader) -> ColumnElement[bool]:
    if reader.newcomer:
        return and_(Task.claimable, _free() > 0)
    held = func.greatest(Task.newcomer_quota - Task.newcomer_taken, 0)
    holds = Job.published_at > bindparam("newcomers_from", type_=DateTime(timezone=True))
    return and_(Task.claimable, _free() > case((holds, held), else_=0))


def _has_room() -> list[ColumnElement[bool]]:
    """The job's own two limits. Few jobs have one, and only for those somebody is counted."""
    me = bindparam("worker", type_=Uuid())
    holding = (Assignment.job_id == Job.id, Assignment.state.in_(sorted(HOLDING)))
    mine = select(func.count()).where(*holding, Assignment.worker_id == me)
    others = select(func.count(func.distinct(Assignment.worker_id))).where(*holding, Assignment.worker_id != me)
    return [
        or_(most.is_(None), taken.correlate(Job).scalar_subquery() < most)
        for most, taken in ((Job.max_submissions_per_worker, mine), (Job.max_workers, others))
    ]


def _free() -> ColumnElement[int]:
    return Task.target - Task.assigned - Task.pending - Task.approved


def _in_area(job: Job, point: Point) -> bool:
    """The query has checked one disc exactly; boundaries and a second shape are checked here."""
    if job.area is None or (job.radius_km is not None and len(job.area["shapes"]) == 1):
        return True
    return geo.contains(places.area_from_json(job.area), point)
