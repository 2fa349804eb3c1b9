"""The daily cap: exact under a hundred racers, per UTC day, given back by a rollback."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from infra import db
from tiering import caps, workers
from tiering.caps import DailyCapReached
from tiering.tiers import TIERS, Tier

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def worker(session: Session) -> UUID:
    return workers.sign_up(session, email="ana@example.org", now=NOON).id


def test_cap_of_each_tier() -> None:
    assert {tier: caps.cap(tier) for tier in TIERS} == {
        "new": 50,
        "bronze": 50,
        "silver": 75,
        "gold": 75,
        "diamond": 75,
    }


@pytest.mark.parametrize(("tier", "cap"), [("new", 50), ("gold", 75)])
def test_a_hundred_racers_get_exactly_the_cap(database: str, tier: Tier, cap: int) -> None:
    with db.transaction() as session:
        ana = worker(session)
    racers = 100
    start = Barrier(racers)

    def race(_: int) -> int | None:
        start.wait()
        with db.transaction() as session:
            try:
                return caps.take(session, worker_id=ana, tier=tier, now=NOON)
            except DailyCapReached:
                return None

    with ThreadPoolExecutor(racers) as pool:
        places = list(pool.map(race, range(racers)))
    assert sorted(place for place in places if place is not None) == list(range(1, cap + 1))
    with db.transaction() as session:
        assert caps.used(session, ana, NOON) == cap


def test_the_refusal_says_when_to_go_on(session: Session) -> None:
    ana = worker(session)
    for _ in range(50):
        caps.take(session, worker_id=ana, tier="bronze", now=NOON)
    with pytest.raises(DailyCapReached) as refused:
        caps.take(session, worker_id=ana, tier="bronze", now=NOON + timedelta(milliseconds=500))
    assert refused.value.members == {"limit": 50, "resets_at": "2026-03-02T00:00:00Z", "retry_after": 43_200}
    assert caps.take(session, worker_id=ana, tier="silver", now=NOON) == 51, "promoted: the higher cap counts at once"


def test_a_new_utc_day_starts_anew(session: Session) -> None:
    ana = worker(session)
    last = datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)
    caps.take(session, worker_id=ana, tier="new", now=NOON)
    assert caps.take(session, worker_id=ana, tier="new", now=last) == 2
    midnight = last + timedelta(microseconds=1)
    assert caps.used(session, ana, midnight) == 0
    assert caps.take(session, worker_id=ana, tier="new", now=midnight) == 1
    assert caps.used(session, ana, last) == 2


def test_the_day_is_utc_wherever_the_clock_hangs() -> None:
    tokyo = datetime(2026, 3, 2, 8, tzinfo=timezone(timedelta(hours=9)))
    assert caps.day(tokyo) == NOON.date()
    assert caps.resets_at(tokyo) == datetime(2026, 3, 2, tzinfo=UTC)


def test_a_rollback_gives_the_place_back(database: str) -> None:
    with db.transaction() as session:
        ana = worker(session)

    def fail() -> None:
        with db.transaction() as session:
            caps.take(session, worker_id=ana, tier="new", now=NOON)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with db.transaction() as session:
        assert caps.used(session, ana, NOON) == 0
