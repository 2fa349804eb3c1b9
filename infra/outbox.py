"""
The outbox: facts recorded in the same transaction as the change they tell of.

An event is a row; each background function that listens to its type gets one call, also a row. After the commit a bell
is rung for each call (`infra/queue.py`). The bell may be lost: the sweep rings again whatever still waits past its
deadline, so Redis may forget everything at any moment.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from infra import clock, db, ids, states
from infra.db import Base
from infra.settings import settings
from infra.states import Stateful, lifecycle
from infra.telemetry import request_id

CALL = lifecycle("call", waiting="done failed", done="", failed="")
RING_AGAIN = timedelta(seconds=30)
RING_AGAIN_AT_MOST = timedelta(minutes=5)
REST_AT_MOST = timedelta(minutes=5)
GIVEN_UP = "given_up."
KEEP_DONE = timedelta(days=7)


class Event(Base):
    """A fact: what happened (`type`), to what (`subject`, a shown id), for which buyer. No personal data."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "organization_id", "id"), Index(None, "subject", "id"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    subject: Mapped[str]
    organization_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]]
    request_id: Mapped[str | None]
    created_at: Mapped[datetime]


class Call(Stateful):
    """One background function that still has to hear of one event."""

    __tablename__ = "event_calls"
    __table_args__ = (UniqueConstraint("event_id", "function"), *CALL.constraints())

    event_id: Mapped[UUID] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    function: Mapped[str]
    rests_until: Mapped[datetime | None]
    """A worker has it, or it rests after a failure: bells before then are not answered."""
    attempts: Mapped[int]
    deaths: Mapped[int]
    """Tries that have not reported back."""
    rings: Mapped[int]
    error: Mapped[str | None]


Bell = Callable[[Sequence[tuple[UUID, str]]], None]

_listeners: Mapping[str, Sequence[str]] = {}


def _unwired(calls: Sequence[tuple[UUID, str]]) -> None:
    """Until the bell is wired only the sweep carries calls."""


_ring: Bell = _unwired


def wire(listeners: Mapping[str, Sequence[str]], ring: Bell) -> None:
    """Say which functions (dotted names) hear which event types, and how their bell is rung; `api/wiring.py` does."""
    global _listeners, _ring
    _listeners, _ring = listeners, ring


def record(
    session: Session,
    type: str,
    *,
    subject: str,
    organization_id: UUID | None = None,
    data: dict[str, Any] | None = None,
) -> Event:
    """Record a fact in the caller's transaction; whoever listens is called after it commits."""
    now = clock.now()
    event = Event(
        id=ids.new(),
        type=type,
        subject=subject,
        organization_id=organization_id,
        data=data or {},
        request_id=request_id(),
        created_at=now,
    )
    session.add(event)
    session.flush()
    calls = [_call(event.id, function, now) for function in _listeners.get(type, ())]
    session.add_all(calls)
    if calls:
        bells = [(call.id, call.function) for call in calls]
        db.after_commit(session, lambda: _ring(bells))
    return event


def _call(event_id: UUID, function: str, now: datetime) -> Call:
    due_at = now + timedelta(seconds=settings().grace_seconds)
    return Call(
        id=ids.new(),
        event_id=event_id,
        function=function,
        state="waiting",
        due_at=due_at,
        attempts=0,
        deaths=0,
        rings=1,
    )


def sweep(session: Session, *, now: datetime, limit: int = 500) -> int:
    """Ring again for every call that waits past its deadline, later each time. Returns how many."""
    due = session.scalars(states.overdue(Call, CALL, now, limit)).all()
    if not due:
        return 0
    pause = func.least(RING_AGAIN * func.power(2, func.least(Call.rings - 1, 10)), RING_AGAIN_AT_MOST)
    rung = session.execute(
        update(Call)
        .where(Call.id.in_(due))
        .values(rings=Call.rings + 1, due_at=now + pause)
        .returning(Call.id, Call.function)
        .execution_options(synchronize_session=False)
    ).all()
    bells = [(id, function) for id, function in rung]
    db.after_commit(session, lambda: _ring(bells))
    return len(bells)


def begin(session: Session, call_id: UUID, *, now: datetime) -> tuple[str, UUID] | None:
    """
    Take a call for as long as one try may last, against other bells for it and against the sweep. None when it is done,
    given up, being tried by another worker, or resting after a failure.

    The try counts as a death until it reports back, and that is committed before the work starts: a file that kills its
    work horse is not tried for ever.
    """
    call = session.get(Call, call_id, with_for_update=True)
    if call is None or call.state != "waiting" or (call.rests_until and call.rests_until > now):
        return None
    if call.deaths >= settings().call_deaths:
        _give_up(session, call)
        return None
    call.attempts += 1
    call.deaths += 1
    call.due_at = call.rests_until = now + timedelta(seconds=settings().call_seconds + settings().grace_seconds)
    return call.function, call.event_id


def finish(session: Session, call_id: UUID) -> None:
    """The function returned."""
    states.try_move(session, Call, call_id, along=CALL, to="done", error=None)


def postpone(session: Session, call_id: UUID, *, error: str, died: bool = False, now: datetime) -> None:
    """
    The function raised, or its work horse died: try again after a pause that doubles. What raises is tried for
    `call_hours`, since what it needs may be away that long; what kills its horse a few times only.
    """
    call = session.get(Call, call_id, with_for_update=True)
    if call is None or call.state != "waiting":
        return
    call.error = error[:2_000]
    if not died:
        call.deaths -= 1
    age = now - session.get_one(Event, call.event_id).created_at
    if call.deaths >= settings().call_deaths or age > timedelta(hours=settings().call_hours):
        _give_up(session, call)
    else:
        pause = min(timedelta(seconds=2 ** min(call.attempts, 10)), REST_AT_MOST)
        call.due_at = call.rests_until = now + pause


def _give_up(session: Session, call: Call) -> None:
    """Tell whoever can still do something about it: `given_up.` + the function's name, about the same thing."""
    event = session.get_one(Event, call.event_id)
    killed = call.deaths >= settings().call_deaths
    states.move(session, Call, call.id, along=CALL, to="failed", error=call.error or "its work horses died")
    record(
        session,
        GIVEN_UP + call.function,
        subject=event.subject,
        organization_id=event.organization_id,
        data={**event.data, "killed": killed},
    )


def retry_given_up(session: Session, *, now: datetime) -> int:
    """Try again what was given up, once what was wrong is mended. Returns how many calls."""
    gone = session.execute(delete(Call).where(Call.state == "failed").returning(Call.event_id, Call.function)).all()
    session.add_all(_call(event_id, function, now) for event_id, function in gone)
    session.flush()
    return len(gone)


def forget_done(session: Session, *, now: datetime, limit: int = 50_000) -> int:
    """Delete calls that were done long ago; the events themselves stay, they are the audit. Returns how many."""
    old = select(Call.id).where(Call.state == "done", Call.id < ids.floor(now - KEEP_DONE)).limit(limit)
    return len(session.execute(delete(Call).where(Call.id.in_(old)).returning(Call.id)).all())


def event(session: Session, event_id: UUID) -> Event:
    """The event a background function was called for."""
    return session.get_one(Event, event_id)


def latest(session: Session, subject: str) -> Event | None:
    """The newest event about something."""
    return session.scalars(select(Event).where(Event.subject == subject).order_by(Event.id.desc()).limit(1)).first()


def backlog(session: Session) -> dict[str, int]:
    """How many calls wait and how many were given up, for metrics and `footwork check`."""
    rows = session.execute(select(Call.state, func.count()).where(Call.state != "done").group_by(Call.state)).all()
    return {"waiting": 0, "failed": 0} | dict(rows)
