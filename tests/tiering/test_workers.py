"""Workers: one row per address however it is spelt and whoever races, and what is remembered of them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra import db, ids
from tiering import workers
from tiering.workers import BadEmail, Fix, NoSuchWorker

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
AUSTIN = Fix(30.2672, -97.7431, 10.0, NOW)


def test_signing_up_twice_finds_the_same_worker(session: Session) -> None:
    ana = workers.sign_up(session, email=" Ana@Example.org ", now=NOW)
    again = workers.sign_up(session, email="ana@example.ORG", now=NOW + timedelta(days=1))
    assert again.id == ana.id
    assert (ana.email, ana.tier, ana.state, ana.created_at) == ("Ana@Example.org", "new", "active", NOW)
    assert workers.get(session, ana.id) is ana


def test_racing_sign_ups_make_one_worker(database: str) -> None:
    racers = 8
    start = Barrier(racers)

    def race(number: int) -> UUID:
        start.wait()
        with db.transaction() as session:
            return workers.sign_up(session, email=["bo@example.org", "BO@example.org"][number % 2], now=NOW).id

    with ThreadPoolExecutor(racers) as pool:
        assert len(set(pool.map(race, range(racers)))) == 1


@pytest.mark.parametrize("email", ["", "ana", "@example.org", "ana@", "a" * 243 + "@example.org"])
def test_what_is_no_address_is_refused(session: Session, email: str) -> None:
    with pytest.raises(BadEmail):
        workers.sign_up(session, email=email, now=NOW)


def test_an_unknown_worker_is_not_found(session: Session) -> None:
    with pytest.raises(NoSuchWorker):
        workers.get(session, ids.new())
    with pytest.raises(NoSuchWorker):
        workers.count_assignment(session, ids.new())


def test_only_a_newer_fix_is_remembered(session: Session) -> None:
    ana = workers.sign_up(session, email="ana@example.org", now=NOW)
    assert workers.last_fix(ana) is None

    def remembered(fix: Fix) -> Fix | None:
        workers.remember_fix(session, ana.id, fix)
        session.refresh(ana)
        return workers.last_fix(ana)

    assert remembered(AUSTIN) == AUSTIN
    late = Fix(0.0, 0.0, 10.0, NOW - timedelta(seconds=1))
    assert remembered(late) == AUSTIN
    further = Fix(30.3, -97.7, 5.0, NOW + timedelta(seconds=1))
    assert remembered(further) == further


def test_assignments_are_counted_and_never_negative(session: Session) -> None:
    ana = workers.sign_up(session, email="ana@example.org", now=NOW)
    assert workers.count_assignment(session, ana.id) == 1
    assert workers.count_assignment(session, ana.id, -1) == 0
    with pytest.raises(IntegrityError, match="assignments_not_negative"):
        workers.count_assignment(session, ana.id, -1)
