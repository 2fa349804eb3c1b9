"""Strikes: counted once each; the third bans once, in writing, with a human to look at it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from infra import db, ids
from infra.outbox import Event
from jobs.submissions import Decision
from quality import reviews, strikes, verdicts
from quality.models import Review
from tests.jobs import scenes
from tests.jobs.scenes import BROKEN, NOW, later
from tiering import standing
from tiering.models import Outcome, Worker


def strike(session: Session, worker: Worker, code: str = "off_topic", now: datetime = NOW) -> int:
    return strikes.give(session, worker_id=worker.id, submission_id=ids.new(), code=code, now=now)


def told(session: Session, worker_id: UUID) -> list[str]:
    of_them = select(Event.type).where(Event.subject == ids.show("wkr", worker_id)).order_by(Event.id)
    return list(session.scalars(of_them))


@pytest.mark.parametrize("code", strikes.MISCONDUCT)
def test_a_strike_is_kept_in_words(session: Session, code: str) -> None:
    ana = scenes.worker(session)
    assert strike(session, ana, code) == 1
    (kept,) = strikes.of_worker(session, ana.id)
    assert (kept.code, kept.written, kept.lifted_at) == (code, strikes.MISCONDUCT[code], None)
    assert told(session, ana.id) == ["worker.struck"]
    assert ana.state == "active"


def test_one_submission_is_one_strike(session: Session) -> None:
    ana, submission_id = scenes.worker(session), ids.new()
    for _ in range(3):
        count = strikes.give(session, worker_id=ana.id, submission_id=submission_id, code="fraud", now=NOW)
        assert count == 1
    assert told(session, ana.id) == ["worker.struck"]


def test_strikes_are_each_workers_own(session: Session) -> None:
    ana, ben = scenes.worker(session), scenes.worker(session)
    assert [strike(session, who) for who in (ana, ben, ana, ben)] == [1, 1, 2, 2]
    assert {ana.state, ben.state} == {"active"}


def test_the_third_bans_in_writing_and_a_human_looks(session: Session) -> None:
    ana = scenes.worker(session, "diamond")
    for days, code in enumerate(("off_topic", "fraud", "policy_violation")):
        strike(session, ana, code, later(days=days))
    assert (ana.state, ana.banned_at, ana.tier) == ("banned", later(days=2), "diamond")
    assert ana.ban_reason == "3 strikes: " + " ".join(
        [
            f"(1) 2026-03-02: {strikes.MISCONDUCT['off_topic']}",
            f"(2) 2026-03-03: {strikes.MISCONDUCT['fraud']}",
            f"(3) 2026-03-04: {strikes.MISCONDUCT['policy_violation']}",
        ]
    )
    review = reviews.open_about(session, kind="ban", subject_id=ana.id)
    assert review is not None
    assert (review.worker_id, review.due_at) == (ana.id, later(days=3))
    assert [reason["code"] for reason in review.reasons] == ["policy_violation", "fraud", "off_topic"]
    assert told(session, ana.id) == ["worker.struck"] * 3 + ["worker.banned"]


def test_the_fourth_does_not_ban_again(session: Session) -> None:
    ana = scenes.worker(session)
    assert [strike(session, ana, now=later(days=days)) for days in range(4)] == [1, 2, 3, 4]
    assert ana.banned_at == later(days=2)
    assert len(session.scalars(select(Review)).all()) == 1
    assert told(session, ana.id).count("worker.banned") == 1


def test_how_many_is_a_setting(session: Session, configure: Any) -> None:
    configure(strikes_to_ban=1)
    ana = scenes.worker(session)
    strike(session, ana)
    assert ana.state == "banned"


def test_a_lifted_ban_starts_from_nothing(session: Session) -> None:
    ana, eva = scenes.worker(session, "gold"), ids.new()
    for _ in range(3):
        strike(session, ana)
    assert verdicts.lift_ban(session, ana.id, by=eva, note="Appeal granted.", now=later(hours=1))
    assert (ana.state, ana.ban_reason, strikes.standing_count(session, ana.id)) == ("active", None, 0)
    assert len(strikes.of_worker(session, ana.id)) == 3  # on record all the same
    assert reviews.open_about(session, kind="ban", subject_id=ana.id) is None
    assert not verdicts.lift_ban(session, ana.id, by=eva, note="Again.", now=later(hours=1))
    assert [strike(session, ana, now=later(hours=2)) for _ in range(2)] == [1, 2]
    assert ana.state == "active"
    assert strike(session, ana, now=later(hours=2)) == 3
    assert ana.banned_at == later(hours=2)
    assert ana.ban_reason is not None
    assert ana.ban_reason.startswith("3 strikes")


def test_the_scores_of_lifted_strikes_are_taken_back(session: Session) -> None:
    ana = scenes.worker(session)
    for _ in range(3):
        one = scenes.submission(session, by=ana)
        verdicts.reject(session, one.id, Decision("eva", {"code": "fraud"}, 1), scored=True, strike="fraud", now=NOW)
    assert ana.state == "banned"
    assert standing.stats(session, ana.id).scored == 3
    verdicts.lift_ban(session, ana.id, by=ids.new(), note="Appeal granted.", now=later(hours=1))
    assert standing.stats(session, ana.id).scored == 0
    assert session.scalar(select(func.count()).where(Outcome.voided_at == later(hours=1))) == 3


def test_lifting_leaves_others_strikes_alone(session: Session) -> None:
    ana, ben = scenes.worker(session), scenes.worker(session)
    for _ in range(3):
        strike(session, ana)
    strike(session, ben)
    verdicts.lift_ban(session, ana.id, by=ids.new(), note="Appeal granted.", now=NOW + timedelta(hours=1))
    assert strikes.standing_count(session, ben.id) == 1


def test_the_second_and_the_third_at_once_ban(database: str) -> None:
    """Neither sees the other before it commits; counted side by side both would be the second."""
    with db.transaction() as session:
        ana = scenes.worker(session)
        strike(session, ana)
    scenes.overtaken(lambda session: strike(session, ana), lambda session: strike(session, ana))
    with db.transaction() as session:
        assert session.get_one(Worker, ana.id).state == "banned"


def test_strikes_at_once_ban_once(database: str) -> None:
    """Five verdicts on five jobs, all for misconduct, in the same moment."""
    with db.transaction() as session:
        ana = scenes.worker(session)
        handed_in = [scenes.submission(session, by=ana).id for _ in range(5)]
    start = Barrier(len(handed_in))

    def race(submission_id: UUID) -> None:
        start.wait()
        with db.transaction() as session:
            verdicts.reject(session, submission_id, BROKEN, scored=False, strike="fraud", now=NOW)

    with ThreadPoolExecutor(len(handed_in)) as pool:
        list(pool.map(race, handed_in))
    with db.transaction() as session:
        assert strikes.standing_count(session, ana.id) == 5
        assert told(session, ana.id).count("worker.banned") == 1
        (review,) = session.scalars(select(Review)).all()
        assert len(review.reasons) == 3  # the third banned, and that is what the human is asked about
        reason = session.get_one(Worker, ana.id).ban_reason
        assert reason is not None
        assert reason.startswith("3 strikes: (1)")
