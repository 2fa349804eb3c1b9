"""The worker's feed: what they may take here and now, best first."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy.orm import Session

from api import paging
from api.auth.callers import Worker, WorkerCaller
from api.edge import get
from api.paging import Cursor, Limit
from api.schemas import JobId, Model, Page, Timestamp
from jobs import assignments, feed, organizations
from jobs.feed import Entry, Place
from jobs.geo import Point
from jobs.positions import Position
from tiering import caps, workers

Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Accuracy = Annotated[float, Field(ge=0, le=100_000, description="metres")]
FixAge = Annotated[float, Field(ge=0, le=86_400, description="seconds")]


class BuyerCard(Model):
    """What is known of the buyer from the last ninety days; None until something is decided."""

    name: str
    decided: int
    approval_rate: float | None
    median_decision_seconds: float | None


class FeedEntry(Model):
    object: Literal["feed_entry"] = "feed_entry"
    job_id: JobId
    title: str
    description: str
    worker_guidelines: str | None
    accepted_formats: list[str]
    files_per_submission: int
    min_width: int | None
    min_height: int | None
    min_star_rating: int
    pay_cents: Annotated[int, Field(description="what you get for one accepted submission")]
    time_limit_minutes: int
    distance_km: Annotated[float | None, Field(description="to the middle of the job's area; None: anywhere")]
    slots_left: int
    priority: str
    location: dict[str, Any] | None
    published_at: Timestamp
    ends_at: Timestamp
    buyer: BuyerCard


@get("/v1/worker/feed", who=Worker(), summary="Read the feed")
def read(
    session: Session,
    caller: WorkerCaller,
    now: datetime,
    latitude: Latitude,
    longitude: Longitude,
    accuracy_m: Accuracy,
    fix_age_s: FixAge = 0.0,
    mocked: bool = False,
    cursor: Cursor | None = None,
    limit: Limit = 20,
) -> Page[FeedEntry]:
    """
    Jobs open to you now at this position. Poll with `If-None-Match`; an unchanged feed answers 304. Empty once what you
    handed in today and hold claimed reaches today's cap.
    """
    worker = workers.get(session, caller.worker_id)
    position = Position(latitude, longitude, accuracy_m, fix_age_s, mocked)
    claimed = assignments.open_claims(session, worker.id)
    if claimed + caps.used(session, worker.id, now) >= caps.cap(worker.tier):
        return Page[FeedEntry](data=[])
    place, after = _continue(cursor) if cursor else (Place.now(position.point, now), None)
    entries = feed.read(
        session,
        worker,
        platform=caller.platform,
        place=place,
        organizations=organizations.memberships(session, worker.email),
        after=after,
        limit=limit + 1,
        now=now,
    )
    more, entries = len(entries) > limit, entries[:limit]
    return Page[FeedEntry](
        data=[_show(entry) for entry in entries],
        has_more=more,
        next_cursor=_cursor(place, entries[-1]) if more else None,
    )


def _cursor(place: Place, last: Entry) -> str:
    point = place.point
    return paging.write([place.minute.isoformat(), point.latitude, point.longitude, last.rank, str(last.job.id)])


def _continue(cursor: str) -> tuple[Place, tuple[float, Any]]:
    minute, latitude, longitude, rank, id = paging.read(cursor, 5)
    try:
        place = Place(Point(float(latitude), float(longitude)), datetime.fromisoformat(minute).astimezone(UTC))
        return place, (float(rank), paging.uuid(id))
    except (ValueError, TypeError, OverflowError):
        raise paging.BadCursor("It belongs to another list.") from None


def _show(entry: Entry) -> FeedEntry:
    job, buyer = entry.job, entry.organization
    if job.published_at is None or job.ends_at is None:
        raise RuntimeError(f"job {job.id} is open without having been published")
    return FeedEntry(
        job_id=job.id,
        title=job.title,
        description=job.description,
        worker_guidelines=job.worker_guidelines,
        accepted_formats=job.accepted_formats,
        files_per_submission=job.files_per_submission,
        min_width=job.min_width,
        min_height=job.min_height,
        min_star_rating=job.min_star_rating,
        pay_cents=job.worker_cents,
        time_limit_minutes=job.task_time_limit_minutes,
        distance_km=None if entry.distance_km is None else round(entry.distance_km, 1),
        slots_left=entry.slots_left,
        priority=job.priority,
        location=job.location,
        published_at=job.published_at,
        ends_at=job.ends_at,
        buyer=BuyerCard(
            name=buyer.name,
            decided=buyer.decided,
            approval_rate=buyer.approval_rate,
            median_decision_seconds=buyer.median_decision_seconds,
        ),
    )
