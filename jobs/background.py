"""What the clock rings for the work: claims that ran out, jobs whose hour came or went, buyers' scorecards."""

from datetime import timedelta

from infra import clock, db, periodic, states
from jobs import assignments, jobs, organizations
from jobs.lifecycle import ASSIGNMENT, JOB
from jobs.models import Assignment, Job

SCORECARD = timedelta(days=90)


def expire_assignments() -> None:
    """Give back the slots of claims that ran out; push on those whose verdict takes long."""
    now = clock.now()
    with db.transaction() as session:
        due = session.scalars(states.overdue(Assignment, ASSIGNMENT, now)).all()
    periodic.each(Assignment, due, lambda session, id: assignments.ring(session, id, now=now), now=now)


def move_jobs_on() -> None:
    """Open scheduled jobs, end those whose time is over, finish closing ones, drop old drafts."""
    now = clock.now()
    with db.transaction() as session:
        due = session.scalars(states.overdue(Job, JOB, now)).all()
    periodic.each(Job, due, lambda session, id: jobs.ring(session, id, now=now), now=now)


def refresh_scorecards() -> None:
    """What workers see of buyers, from the last ninety days."""
    with db.transaction() as session:
        organizations.refresh_scorecards(session, since=clock.now() - SCORECARD)
