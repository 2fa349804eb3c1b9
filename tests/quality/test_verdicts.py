"""The transaction: submission, slot, money, standing and event move together, once, whoever else is at it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from infra import db, ids
from infra.outbox import Event
from jobs import jobs, submissions
from jobs.models import Assignment, Submission
from payouts import earnings, escrow, wallets
from payouts.models import Transfer
from quality import reviews, strikes, verdicts
from quality.assess import Proposal
from quality.models import Review
from tests.jobs import scenes
from tests.jobs.scenes import BAD, BROKEN, GOOD, NOW, later
from tiering import standing
from tiering.models import Outcome

REASON = {"gate": "score", "version": "1", "code": "good", "measured": 5, "limit": 3, "feedback": "Good work."}


def stars_of(session: Session, submission_id: UUID) -> int | None:
    return session.scalar(select(Outcome.stars).where(Outcome.submission_id == submission_id))


def payments(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Transfer).where(Transfer.reason == "pay")) or 0


def told(session: Session, submission_id: UUID) -> list[str]:
    of_it = select(Event.type).where(Event.subject == ids.show("sub", submission_id)).order_by(Event.id)
    return list(session.scalars(of_it))


# -- approve -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "worker_cents", "fee_cents"),
    [
        ({}, 40, 10),
        ({"price_per_file_cents": 99}, 80, 19),  # the cent in doubt is the worker's
        ({"price_per_file_cents": 99, "fee_mode": "on_top"}, 99, 19),
        ({"price_per_file_cents": 99, "files_per_submission": 5}, 5 * 80, 5 * 19),
    ],
)
def test_an_approval_pays_the_worker_and_the_fee(
    session: Session, changes: dict[str, Any], worker_cents: int, fee_cents: int
) -> None:
    ana, organization = scenes.worker(session), scenes.buyer(session, 100_000)
    job = scenes.published(session, organization.id, **changes)
    one = scenes.submission(session, job, ana)
    before = escrow.balance(session, job.id)
    verdicts.approve(session, one.id, GOOD, now=NOW)
    assert earnings.balance(session, ana.id) == worker_cents
    assert scenes.booked(session, "fee") == fee_cents
    assert before - escrow.balance(session, job.id) == worker_cents + fee_cents
    assert (one.state, one.stars, session.get_one(Assignment, one.assignment_id).state) == ("approved", 5, "approved")
    assert stars_of(session, one.id) == 5
    assert told(session, one.id) == ["submission.received", "submission.approved"]
    scenes.assert_sound(session, job.id)


def test_a_second_approval_pays_nothing(session: Session) -> None:
    ana = scenes.worker(session)
    one = scenes.submission(session, by=ana)
    assert verdicts.approve(session, one.id, GOOD, now=NOW) is not None
    assert verdicts.approve(session, one.id, GOOD, now=later(minutes=1)) is None
    assert verdicts.reject(session, one.id, BAD, scored=True, strike="fraud", now=later(minutes=1)) is None
    assert earnings.balance(session, ana.id) == 40
    assert payments(session) == 1
    assert strikes.standing_count(session, ana.id) == 0
    assert told(session, one.id) == ["submission.received", "submission.approved"]


def test_a_test_job_moves_no_money_and_all_the_rest(session: Session) -> None:
    ana = scenes.worker(session, email="ana@example.org")
    organization = scenes.buyer(session, 0)
    job = scenes.published(session, organization.id, test=True, test_emails=["ana@example.org"], files_needed=1)
    one = scenes.submission(session, job, ana)
    verdicts.approve(session, one.id, GOOD, now=NOW)
    assert jobs.get(session, job.id).state == "completed"
    assert (earnings.balance(session, ana.id), payments(session)) == (0, 0)
    assert jobs.expected_escrow(session) == {}


def test_an_approval_can_promote_at_once(session: Session) -> None:
    ana = scenes.worker(session, "new")
    for _ in range(9):
        standing.record_outcome(session, worker_id=ana.id, submission_id=ids.new(), stars=5, now=NOW)
    one = scenes.handed_in(session, scenes.claimed(session, scenes.published(session), ana, now=later(minutes=6)))
    verdicts.approve(session, one.id, GOOD, now=NOW)
    assert ana.tier == "bronze"


# -- reject ------------------------------------------------------------------------------------------------------------


def test_a_rejection_costs_the_buyer_nothing(session: Session) -> None:
    organization = scenes.buyer(session, 1_000)
    job = scenes.published(session, organization.id)
    one = scenes.submission(session, job)
    verdicts.reject(session, one.id, BROKEN, scored=False, now=NOW)
    assert (escrow.balance(session, job.id), wallets.balance(session, organization.id)) == (500, 500)
    assert stars_of(session, one.id) is None
    assert told(session, one.id) == ["submission.received", "submission.rejected"]


def test_stars_count_only_if_the_work_was_judged(session: Session) -> None:
    judged, too_small = scenes.submission(session), scenes.submission(session)
    verdicts.reject(session, judged.id, BAD, scored=True, now=NOW)
    one_star = submissions.Decision(by="gates", reason={"code": "too_small"}, stars=1)
    verdicts.reject(session, too_small.id, one_star, scored=False, now=NOW)
    assert (stars_of(session, judged.id), stars_of(session, too_small.id)) == (2, None)
    assert too_small.stars == 1  # shown, not counted


def test_bad_craft_is_no_strike(session: Session) -> None:
    """One star for the picture's quality: rejected without another try, and nothing more."""
    ana = scenes.worker(session)
    one = scenes.submission(session, by=ana)
    verdicts.carry_out(session, one.id, Proposal("reject", REASON, stars=1, scored=True), now=NOW)
    assert (one.state, one.stars, stars_of(session, one.id)) == ("rejected", 1, 1)
    assert not submissions.may_retry(session, one)
    assert strikes.standing_count(session, ana.id) == 0


def test_misconduct_is(session: Session) -> None:
    ana = scenes.worker(session)
    one = scenes.submission(session, by=ana)
    verdicts.reject(session, one.id, BROKEN, scored=False, strike="off_topic", now=NOW)
    (strike,) = strikes.of_worker(session, ana.id)
    assert (strike.code, strike.submission_id) == ("off_topic", one.id)


# -- what is proposed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proposal", "state", "assignment", "stars"),
    [
        (Proposal("approve", REASON, stars=5, scored=True), "approved", "approved", 5),
        (Proposal("reject", REASON), "rejected", "rejected", None),
        (Proposal("reject", REASON, stars=2, scored=True, retry=True), "rejected", "claimed", 2),
        (Proposal("review", REASON | {"doubts": [REASON, REASON]}, stars=4), "in_review", "submitted", None),
    ],
)
def test_proposals_are_carried_out(
    session: Session, proposal: Proposal, state: str, assignment: str, stars: int | None
) -> None:
    one = scenes.submission(session)
    verdicts.carry_out(session, one.id, proposal, now=NOW)
    assert (one.state, session.get_one(Assignment, one.assignment_id).state) == (state, assignment)
    assert stars_of(session, one.id) == stars
    assert one.reason is not None
    assert one.reason["feedback"] == "Good work."
    assert one.decided_by == (None if state == "in_review" else "gates")


def test_a_human_is_asked_once_and_told_what_is_at_stake(session: Session) -> None:
    one = scenes.submission(session)
    doubts = [REASON | {"code": "looks_alike"}, REASON | {"code": "mock_location"}]
    assert verdicts.ask_human(session, one.id, reason=doubts[0] | {"doubts": doubts}, now=NOW) is one
    review = reviews.open_about(session, kind="submission", subject_id=one.id)
    assert review is not None
    assert (review.worker_id, review.job_id, review.held_cents) == (one.worker_id, one.job_id, 40)
    assert (review.reasons, review.due_at) == (doubts, later(hours=24))
    verdicts.ask_human(session, one.id, reason=REASON, now=NOW)
    assert session.scalar(select(func.count()).select_from(Review)) == 1


# -- all or nothing, once ----------------------------------------------------------------------------------------------


def test_a_verdict_that_fails_at_the_end_has_not_begun(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with db.transaction() as session:
        one = scenes.submission(session)
    with monkeypatch.context() as broken:
        broken.setattr(standing, "reconsider", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError), db.transaction() as session:
            verdicts.approve(session, one.id, GOOD, now=NOW)
    with db.transaction() as session:
        assert submissions.get(session, one.id).state == "pending"
        assert stars_of(session, one.id) is None
        assert earnings.balance(session, one.worker_id) == 0
        assert told(session, one.id) == ["submission.received"]
        scenes.assert_sound(session, one.job_id)
        verdicts.approve(session, one.id, GOOD, now=NOW)


Verdict = Callable[[Session, Submission], object]
VERDICTS: dict[str, Verdict] = {
    "approve": lambda session, one: verdicts.approve(session, one.id, GOOD, now=NOW),
    "reject": lambda session, one: verdicts.reject(session, one.id, BAD, scored=True, strike="fraud", now=NOW),
    "retry": lambda session, one: verdicts.reject(session, one.id, BAD, scored=True, retry=True, now=NOW),
}


@pytest.mark.parametrize(
    ("first", "second"), [("approve", "reject"), ("reject", "approve"), ("approve", "approve"), ("retry", "approve")]
)
def test_the_first_verdict_counts(database: str, first: str, second: str) -> None:
    with db.transaction() as session:
        one = scenes.submission(session)
    late: list[object] = []
    scenes.overtaken(
        lambda session: VERDICTS[first](session, one), lambda session: late.append(VERDICTS[second](session, one))
    )
    assert late == [None]
    with db.transaction() as session:
        assert_decided_once(session, one)
        assert submissions.get(session, one.id).state == ("approved" if first == "approve" else "rejected")


def test_of_many_verdicts_at_once_one_counts(database: str) -> None:
    racers = 12
    for _ in range(4):
        with db.transaction() as session:
            one = scenes.submission(session)
        start = Barrier(racers)

        def race(verdict: Verdict, one: Submission = one, start: Barrier = start) -> bool:
            start.wait()
            with db.transaction() as session:
                return verdict(session, one) is not None

        with ThreadPoolExecutor(racers) as pool:
            counted = list(pool.map(race, list(VERDICTS.values()) * (racers // 3)))
        assert sum(counted) == 1
        with db.transaction() as session:
            assert_decided_once(session, one)


def assert_decided_once(session: Session, one: Submission) -> None:
    state = submissions.get(session, one.id).state
    assert earnings.balance(session, one.worker_id) == (40 if state == "approved" else 0)
    assert stars_of(session, one.id) == (5 if state == "approved" else 2)
    assert len(told(session, one.id)) == 2
    scenes.assert_sound(session, one.job_id)
    scenes.assert_books_right(session)
