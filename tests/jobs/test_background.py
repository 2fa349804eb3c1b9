"""The clock of the work: one row that cannot be rung stops no other, and does not stand first for ever."""

from datetime import timedelta
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from infra import clock, db, states
from infra.periodic import PUT_OFF
from jobs import assignments, background, jobs
from jobs.lifecycle import ASSIGNMENT, JOB
from jobs.models import Assignment, Job
from tests.jobs import scenes


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`broken(jobs, id)`: whoever rings this one of them fails."""

    def act(where: ModuleType, bad: UUID) -> None:
        ring = where.ring

        def fail(session: Session, id: UUID, **more: Any) -> None:
            ring(session, id, **more)
            if id == bad:
                session.flush()
                raise ZeroDivisionError

        monkeypatch.setattr(where, "ring", fail)

    return act


def test_a_claim_that_cannot_run_out_stops_no_other(database: str, broken: Any) -> None:
    now = clock.now()
    with db.transaction() as session:
        job = scenes.published(session, now=now)
        one, two = (scenes.claimed(session, job, now=now + timedelta(seconds=n)) for n in range(2))
    broken(assignments, one.id)
    clock.shift(timedelta(minutes=31))
    background.expire_assignments()
    with db.transaction() as session:
        bad, good = session.get_one(Assignment, one.id), session.get_one(Assignment, two.id)
        assert (bad.state, good.state) == ("claimed", "expired")
        assert session.scalars(states.overdue(Assignment, ASSIGNMENT, clock.now())).all() == []
        due = session.scalars(states.overdue(Assignment, ASSIGNMENT, clock.now() + PUT_OFF)).all()
        assert due == [one.id]
        scenes.assert_sound(session, job.id)


def test_a_job_that_cannot_end_stops_no_other(database: str, broken: Any) -> None:
    now = clock.now()
    with db.transaction() as session:
        one, two = (
            scenes.published(session, now=now + timedelta(seconds=n), posting_time_limit_minutes=5) for n in range(2)
        )
    broken(jobs, one.id)
    clock.shift(timedelta(minutes=6))
    background.move_jobs_on()
    with db.transaction() as session:
        assert (session.get_one(Job, one.id).state, session.get_one(Job, two.id).state) == ("open", "expired")
        assert session.scalars(states.overdue(Job, JOB, clock.now() + PUT_OFF)).all() == [one.id]
