"""Standing over simulated days: promotion at once, demotion after the grace, every change with its numbers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra import clock, db, ids
from infra.outbox import Event
from tiering import background, standing, tiers, workers
from tiering.models import Outcome, Worker
from tiering.tiers import Tier
from tiering.workers import NoSuchWorker

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def worker(session: Session, tier: Tier = "new") -> Worker:
    ana = workers.sign_up(session, email="ana@example.org", now=NOW - 100 * DAY)
    ana.tier = tier
    session.flush()
    return ana


def score(session: Session, ana: Worker, *stars: int, at: datetime = NOW) -> list[UUID]:
    rows = [
        {"submission_id": ids.new(), "worker_id": ana.id, "stars": count, "scored_at": at, "voided_at": None}
        for count in stars
    ]
    session.execute(insert(Outcome), rows)
    return [row["submission_id"] for row in rows]  # type: ignore[misc]


def event_types(session: Session) -> list[str]:
    return list(session.scalars(select(Event.type).order_by(Event.id)))


# -- outcomes --------------------------------------------------------------------------------------------------------------


def test_an_outcome_counts_once(session: Session) -> None:
    ana, submission = worker(session), ids.new()
    assert standing.record_outcome(session, worker_id=ana.id, submission_id=submission, stars=5, now=NOW)
    assert not standing.record_outcome(session, worker_id=ana.id, submission_id=submission, stars=1, now=NOW)
    assert standing.stats(session, ana.id) == tiers.Stats(1, (True,))


def test_a_voided_outcome_no_longer_counts(session: Session) -> None:
    ana = worker(session)
    bad, _ = score(session, ana, 1, 4)
    assert standing.void_outcome(session, submission_id=bad, now=NOW)
    assert not standing.void_outcome(session, submission_id=bad, now=NOW)
    assert standing.stats(session, ana.id) == tiers.Stats(1, (True,))
    assert not standing.record_outcome(session, worker_id=ana.id, submission_id=bad, stars=1, now=NOW)


@pytest.mark.parametrize("stars", [0, 6])
def test_stars_are_one_to_five(session: Session, stars: int) -> None:
    ana = worker(session)
    with pytest.raises(IntegrityError, match="stars_in_range"):
        standing.record_outcome(session, worker_id=ana.id, submission_id=ids.new(), stars=stars, now=NOW)


def test_three_stars_are_good_and_two_are_not(session: Session) -> None:
    ana = worker(session)
    for minute, stars in enumerate([2, 3, 5, 1]):
        score(session, ana, stars, at=NOW + timedelta(minutes=minute))
    assert standing.stats(session, ana.id).recent == (False, True, True, False)


def test_the_rate_forgets_what_is_older_than_the_history_and_the_count_does_not(session: Session) -> None:
    ana = worker(session)
    score(session, ana, *[1] * 300, at=NOW - DAY)
    score(session, ana, *[5] * 500)
    numbers = standing.stats(session, ana.id)
    assert (numbers.scored, len(numbers.recent), numbers.approval_rate) == (800, 500, 1.0)


# -- promotion and demotion ------------------------------------------------------------------------------------------------


def test_promotion_comes_at_once_with_its_numbers(session: Session) -> None:
    ana = worker(session)
    score(session, ana, *[4] * 8, *[2] * 2)
    change = standing.reconsider(session, ana.id, NOW)
    assert change is not None
    assert (change.from_tier, change.to_tier, change.scored, change.approval_rate, change.reason, change.at) == (
        "new",
        "bronze",
        10,
        0.8,
        "gate_reached",
        NOW,
    )
    assert (ana.tier, ana.tier_since) == ("bronze", NOW)
    [event] = session.scalars(select(Event))
    assert (event.type, event.subject) == ("worker.tier_changed", ids.show("wkr", ana.id))
    assert event.data["to"] == "bronze"
    assert standing.reconsider(session, ana.id, NOW) is None


def test_promotion_may_skip_tiers(session: Session) -> None:
    ana = worker(session)
    score(session, ana, *[5] * 150)
    change = standing.reconsider(session, ana.id, NOW)
    assert change is not None
    assert change.to_tier == "gold"


def test_demotion_waits_for_the_grace_and_goes_to_what_is_earned(session: Session) -> None:
    ana = worker(session, "gold")
    score(session, ana, *[5] * 120, *[1] * 80)  # 60 %: Bronze
    assert standing.reconsider(session, ana.id, NOW) is None
    assert ana.below_since == NOW
    assert standing.reconsider(session, ana.id, NOW + 7 * DAY - timedelta(seconds=1)) is None
    score(session, ana, *[5] * 120)  # 75 % in the meantime: Silver
    change = standing.reconsider(session, ana.id, NOW + 7 * DAY)
    assert change is not None
    assert (change.from_tier, change.to_tier, change.reason) == ("gold", "silver", "below_gate")
    assert ana.below_since is None


def test_recovery_ends_the_grace_and_the_next_fall_has_a_new_one(session: Session) -> None:
    ana = worker(session, "bronze")
    score(session, ana, *[5] * 5, *[1] * 5)
    assert standing.reconsider(session, ana.id, NOW) is None
    score(session, ana, *[5] * 3)
    assert standing.reconsider(session, ana.id, NOW + 6 * DAY) is None
    assert ana.below_since is None
    score(session, ana, 1)
    assert standing.reconsider(session, ana.id, NOW + 7 * DAY) is None
    assert standing.describe(session, ana.id, NOW + 7 * DAY).demotion_at == NOW + 14 * DAY
    assert ana.tier == "bronze"


class Story:
    """The rule told the slow way, day by day, to hold the code against."""

    def __init__(self) -> None:
        self.tier: Tier = "new"
        self.days_below: int | None = None

    def pass_day(self, earned: Tier, grace: int) -> None:
        if tiers.at_least(earned, self.tier):
            self.tier, self.days_below = earned, None
            return
        self.days_below = 0 if self.days_below is None else self.days_below + 1
        if self.days_below >= grace:
            self.tier, self.days_below = earned, None


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=10, max_size=40))
def test_any_course_of_days_follows_the_rule(database: str, course: list[tuple[int, int]]) -> None:
    story = Story()
    with db.transaction() as session:
        ana = workers.sign_up(session, email=f"{ids.new()}@example.org", now=NOW)
        changes = 0
        for day, (good, bad) in enumerate(course):
            now = NOW + day * DAY
            if good + bad:
                score(session, ana, *[5] * good, *[1] * bad, at=now)
            before = story.tier
            story.pass_day(tiers.earned(standing.stats(session, ana.id)), grace=7)
            change = standing.reconsider(session, ana.id, now)
            assert ana.tier == story.tier
            assert (change is not None) == (story.tier != before)
            changes += change is not None
        assert len(standing.changes(session, ana.id, limit=100)) == changes


def test_racing_reconsiderations_change_the_tier_once(database: str) -> None:
    with db.transaction() as session:
        ana = worker(session)
        score(session, ana, *[5] * 10)
    racers = 8
    start = Barrier(racers)

    def race(_: int) -> bool:
        start.wait()
        with db.transaction() as session:
            return standing.reconsider(session, ana.id, NOW) is not None

    with ThreadPoolExecutor(racers) as pool:
        assert sum(pool.map(race, range(racers))) == 1
    with db.transaction() as session:
        assert len(standing.changes(session, ana.id)) == 1


def test_an_outcome_can_be_written_while_the_tier_is_reconsidered(database: str) -> None:
    with db.transaction() as session:
        ana = worker(session)

    def write() -> bool:
        with db.transaction() as session:
            return standing.record_outcome(session, worker_id=ana.id, submission_id=ids.new(), stars=5, now=NOW)

    with ThreadPoolExecutor(1) as pool, db.transaction() as session:
        standing.reconsider(session, ana.id, NOW)
        assert pool.submit(write).result(timeout=5)


# -- bans ------------------------------------------------------------------------------------------------------------------


def test_a_ban_has_a_reason_and_can_be_lifted(session: Session) -> None:
    ana = worker(session)
    assert standing.ban(session, worker_id=ana.id, reason="Three strikes.", now=NOW)
    assert not standing.ban(session, worker_id=ana.id, reason="Another.", now=NOW + DAY)
    assert (ana.state, ana.ban_reason, ana.banned_at) == ("banned", "Three strikes.", NOW)
    assert standing.lift_ban(session, worker_id=ana.id, now=NOW)
    assert not standing.lift_ban(session, worker_id=ana.id, now=NOW)
    assert (ana.state, ana.ban_reason, ana.banned_at) == ("active", None, None)
    assert event_types(session) == ["worker.banned", "worker.ban_lifted"]
    assert "strikes" not in str([event.data for event in session.scalars(select(Event))])


def test_a_lifted_ban_finds_the_tier_as_it_was(session: Session) -> None:
    ana = worker(session, "bronze")
    score(session, ana, *[5] * 5, *[1] * 5)
    standing.reconsider(session, ana.id, NOW)
    standing.ban(session, worker_id=ana.id, reason="Three strikes.", now=NOW + DAY)
    assert standing.reconsider(session, ana.id, NOW + 30 * DAY) is None
    standing.lift_ban(session, worker_id=ana.id, now=NOW + 30 * DAY)
    assert (ana.tier, ana.below_since) == ("bronze", NOW + 30 * DAY)


def test_a_worker_nobody_knows_cannot_be_banned_or_reconsidered(session: Session) -> None:
    with pytest.raises(NoSuchWorker):
        standing.ban(session, worker_id=ids.new(), reason="?", now=NOW)
    with pytest.raises(NoSuchWorker):
        standing.reconsider(session, ids.new(), NOW)


def test_the_database_wants_a_reason_for_a_ban(session: Session) -> None:
    ana = worker(session)
    ana.state, ana.banned_at = "banned", NOW
    with pytest.raises(IntegrityError, match="ban_has_time_and_reason"):
        session.flush()


# -- what a worker may ask -------------------------------------------------------------------------------------------------


def test_standing_says_what_lifts_me(session: Session) -> None:
    ana = worker(session)
    score(session, ana, *[5] * 5, *[1] * 5)
    told = standing.describe(session, ana.id, NOW)
    assert (told.tier, told.scored, told.counted, told.approval_rate) == ("new", 10, 10, 0.5)
    assert [(gap.tier, gap.good_in_a_row) for gap in told.next_tiers][:2] == [("bronze", 3), ("silver", 40)]
    assert (told.cap, told.used_today, told.resets_at) == (50, 0, datetime(2026, 3, 2, tzinfo=UTC))
    assert (told.opens_after_seconds, told.newcomer, told.demotion_at) == (300, True, None)


def test_standing_announces_a_demotion(session: Session) -> None:
    ana = worker(session, "silver")
    score(session, ana, *[5] * 6, *[1] * 4)
    standing.reconsider(session, ana.id, NOW)
    told = standing.describe(session, ana.id, NOW + DAY)
    assert (told.demotion_to, told.demotion_at) == ("bronze", NOW + 7 * DAY)


# -- background ------------------------------------------------------------------------------------------------------------


def test_the_clock_demotes_those_whose_grace_is_over(database: str, configure: Callable[..., None]) -> None:
    with db.transaction() as session:
        ana = worker(session, "bronze")
        score(session, ana, *[5] * 5, *[1] * 5)
    with db.transaction() as session:
        standing.reconsider(session, ana.id, clock.now())
    assert background.reconsider_due() == 0
    clock.shift(7 * DAY + timedelta(seconds=1))
    assert background.reconsider_due() == 1
    assert background.reconsider_due() == 0
    with db.transaction() as session:
        assert workers.get(session, ana.id).tier == "new"
        [change] = standing.changes(session, ana.id)
        assert change.reason == "below_gate"


def test_the_clock_leaves_banned_workers_alone(database: str) -> None:
    with db.transaction() as session:
        ana = worker(session, "bronze")
        score(session, ana, *[1] * 10)
        standing.reconsider(session, ana.id, clock.now())
        standing.ban(session, worker_id=ana.id, reason="Three strikes.", now=clock.now())
    clock.shift(8 * DAY)
    assert background.reconsider_due() == 0
