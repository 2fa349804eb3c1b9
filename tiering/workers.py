"""Workers: the people with the mobile app, and what is remembered of them between requests."""

from dataclasses import dataclass
from datetime import datetime
from typing import Never
from uuid import UUID

from sqlalchemy import func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from infra import ids
from infra.errors import Invalid, NotFound
from tiering.models import Worker


class NoSuchWorker(NotFound):
    """There is no such worker."""


class BadEmail(Invalid):
    """This is not an e-mail address."""


@dataclass(frozen=True)
class Fix:
    """Where a phone was, in degrees (WGS 84) and metres of uncertainty, and when."""

    latitude: float
    longitude: float
    accuracy_m: float
    at: datetime


def sign_up(session: Session, *, email: str, now: datetime) -> Worker:
    """
    The worker of this address, made now if it is new. Case does not matter; the first spelling is kept.

    A banned worker signs in too: they must be able to read the reason and appeal.

    :raises BadEmail: nothing before or after the @, or longer than 254 characters (RFC 5321, 4.5.3.1.3)
    """
    address = email.strip()
    local, _, domain = address.rpartition("@")
    if not local or not domain or len(address) > 254:
        raise BadEmail("Give an address like ana@example.org.")
    # Of two racing sign-ups one inserts; the other waits for it here and then finds the row below.
    session.execute(
        insert(Worker)
        .values(
            id=ids.new(),
            email=address,
            state="active",
            tier="new",
            tier_since=now,
            assignments_count=0,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=[text("lower(email)")])
    )
    return session.scalars(select(Worker).where(func.lower(Worker.email) == func.lower(address))).one()


def get(session: Session, id: UUID, *, fresh: bool = False) -> Worker:
    """
    The worker with this id.

    :param fresh: as the database has it now, whatever the session read before
    :raises NoSuchWorker: there is none
    """
    return session.get(Worker, id, populate_existing=fresh) or _missing()


def last_fix(worker: Worker) -> Fix | None:
    """Where the worker's phone was last, for the speed between two fixes."""
    latitude, longitude, accuracy_m = worker.last_latitude, worker.last_longitude, worker.last_accuracy_m
    if latitude is None or longitude is None or accuracy_m is None or worker.last_fix_at is None:
        return None
    return Fix(latitude, longitude, accuracy_m, worker.last_fix_at)


def remember_fix(session: Session, worker_id: UUID, fix: Fix) -> None:
    """Keep the newest fix. An older one, from a request that was late, changes nothing."""
    session.execute(
        update(Worker)
        .where(Worker.id == worker_id, or_(Worker.last_fix_at.is_(None), Worker.last_fix_at < fix.at))
        .values(
            last_latitude=fix.latitude,
            last_longitude=fix.longitude,
            last_accuracy_m=fix.accuracy_m,
            last_fix_at=fix.at,
        )
        .execution_options(synchronize_session=False)
    )


def count_assignment(session: Session, worker_id: UUID, delta: int = 1) -> int:
    """
    Count assignments the worker has had, for the newcomer quota. Returns the new number.

    Call with -1 for one that was handed back. The database refuses to go below zero.

    :raises NoSuchWorker: there is none
    """
    count = session.execute(
        update(Worker)
        .where(Worker.id == worker_id)
        .values(assignments_count=Worker.assignments_count + delta)
        .returning(Worker.assignments_count)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    return count if count is not None else _missing()


def _missing() -> Never:
    raise NoSuchWorker("No worker has this id.")
