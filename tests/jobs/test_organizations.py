"""Organizations: who belongs to them, and the scorecard that workers see."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from infra import clock, db, ids
from jobs import background, organizations, submissions
from jobs.organizations import NoSuchOrganization
from tests.jobs import scenes
from tests.jobs.scenes import BROKEN, GOOD, NOW, later


def test_members_are_found_by_address_however_it_is_written(session: Session) -> None:
    acme = organizations.found(session, name="Acme", members=["Ana@Example.org", "ben@example.org"], now=NOW)
    other = organizations.found(session, name="Other", members=["ana@example.org"], now=NOW)
    assert set(organizations.memberships(session, "ANA@example.org")) == {acme.id, other.id}
    assert organizations.memberships(session, "ben@example.org") == [acme.id]
    assert organizations.memberships(session, "eve@example.org") == []


def test_an_organization_is_found_by_id(session: Session) -> None:
    acme = organizations.found(session, name="Acme", now=NOW)
    assert organizations.get(session, acme.id) is acme
    assert (acme.decided, acme.approval_rate) == (0, None)
    with pytest.raises(NoSuchOrganization):
        organizations.get(session, ids.new())


def test_the_scorecard_counts_what_was_decided_since(session: Session) -> None:
    acme, quiet = scenes.buyer(session), scenes.buyer(session)
    job = scenes.published(session, acme.id)
    undecided, *decided = (scenes.submission(session, job) for _ in range(5))
    for one, seconds in zip(decided, (10, 20, 60, 5), strict=True):
        decision, now = (BROKEN if seconds == 60 else GOOD), later(seconds=seconds)
        if decision is GOOD:
            submissions.approve(session, one.id, GOOD, now=now)
        else:
            submissions.reject(session, one.id, BROKEN, retry=False, now=now)
    assert organizations.refresh_scorecards(session, since=later(seconds=10)) == 1
    session.expire_all()
    assert (acme.decided, acme.median_decision_seconds) == (3, 20)
    assert acme.approval_rate == pytest.approx(2 / 3)
    assert (quiet.decided, quiet.approval_rate, quiet.median_decision_seconds) == (0, None, None)
    assert undecided.state == "pending"


def test_what_is_too_old_to_count_leaves_the_card_empty(session: Session) -> None:
    acme = scenes.buyer(session)
    one = scenes.submission(session, scenes.published(session, acme.id))
    submissions.approve(session, one.id, GOOD, now=NOW)
    organizations.refresh_scorecards(session, since=NOW)
    session.expire_all()
    assert acme.decided == 1
    organizations.refresh_scorecards(session, since=later(seconds=1))
    session.expire_all()
    assert (acme.decided, acme.approval_rate, acme.median_decision_seconds) == (0, None, None)


def test_the_clock_looks_back_ninety_days(database: str) -> None:
    now = clock.now()
    with db.transaction() as session:
        acme = scenes.buyer(session)
        job = scenes.published(session, acme.id, now=now)
        for days in (91, 89):
            one = scenes.handed_in(session, scenes.claimed(session, job, now=now), now=now - timedelta(days=days))
            submissions.approve(session, one.id, GOOD, now=now - timedelta(days=days) + timedelta(seconds=7))
    background.refresh_scorecards()
    with db.transaction() as session:
        acme = organizations.get(session, acme.id)
        assert (acme.decided, acme.approval_rate, acme.median_decision_seconds) == (1, 1.0, 7)
