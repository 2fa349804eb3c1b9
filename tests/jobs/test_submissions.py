"""Handing in, and what a verdict does to slot and job; also when the buyer or the clock gets there first."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra import db, ids
from infra.outbox import Event
from infra.states import IllegalMove
from jobs import assignments, jobs, submissions
from jobs.models import Assignment, Submission
from jobs.submissions import ClaimRanOut, NoSuchSubmission
from payouts import escrow
from tests.jobs import scenes
from tests.jobs.scenes import AUSTIN, BAD, BROKEN, GOOD, NOW, later
from tiering import caps
from tiering.caps import DailyCapReached


def told(session: Session, submission_id: UUID) -> list[Event]:
    of_it = select(Event).where(Event.subject == ids.show("sub", submission_id)).order_by(Event.id)
    return list(session.scalars(of_it))


# -- handing in ------------------------------------------------------------------------------------------------------


def test_handing_in_moves_claim_slot_and_count_and_says_so(session: Session) -> None:
    ana, job = scenes.worker(session), scenes.published(session)
    assignment = scenes.claimed(session, job, ana)
    one = scenes.handed_in(session, assignment, now=later(minutes=5))
    assert (one.state, one.attempt, one.due_at) == ("pending", 1, later(minutes=20))
    assert (one.buyer_cents, one.worker_cents, one.fee_cents) == (50, 40, 10)
    assert (assignment.state, assignment.attempts) == ("submitted", 1)
    task = scenes.task_of(session, job.id)
    assert (task.assigned, task.pending, task.approved) == (0, 1, 0)
    assert caps.used(session, ana.id, later(minutes=5)) == 1
    (event,) = told(session, one.id)
    assert (event.type, event.organization_id) == ("submission.received", job.organization_id)
    assert event.data == {
        "submission": ids.show("sub", one.id),
        "job": ids.show("job", job.id),
        "worker": ids.show("wkr", ana.id),
        "assignment": ids.show("asg", assignment.id),
        "test": False,
    }


def test_the_place_is_kept_and_the_buyer_sees_a_region(session: Session) -> None:
    one = scenes.submission(session)
    assert one.region == "US-TX"
    assert one.position["latitude"] == AUSTIN.latitude
    assert one.position["speed_kmh"] == 0  # since the claim


def test_several_files_are_one_submission_and_cost_their_sum(session: Session) -> None:
    job = scenes.published(session, files_per_submission=5, price_per_file_cents=99, fee_mode="on_top")
    one = scenes.submission(session, job)
    assert (one.buyer_cents, one.worker_cents, one.fee_cents) == (5 * 118, 5 * 99, 5 * 19)


@pytest.mark.parametrize("state", ["submitted", "expired", "handed_back"])
def test_only_a_claim_can_be_handed_in(session: Session, state: str) -> None:
    ana = scenes.worker(session)
    assignment = scenes.claimed(session, scenes.published(session), ana)
    if state == "submitted":
        scenes.handed_in(session, assignment)
    elif state == "expired":
        assignments.ring(session, assignment.id, now=later(minutes=30))
    else:
        assignments.hand_back(session, assignment.id, worker_id=ana.id, now=NOW)
    used = caps.used(session, ana.id, NOW)
    with pytest.raises(IllegalMove) as refused:
        scenes.handed_in(session, assignment)
    assert refused.value.members["state"] == state
    assert caps.used(session, ana.id, NOW) == used


def test_time_is_over_at_the_deadline_even_if_the_clock_was_not_round(session: Session) -> None:
    assignment = scenes.claimed(session, scenes.published(session))
    submissions.require_time_left(assignment, later(minutes=30) - timedelta(microseconds=1))
    with pytest.raises(ClaimRanOut):
        submissions.require_time_left(assignment, later(minutes=30))


def test_the_daily_cap_counts_what_is_handed_in(session: Session, configure: Callable[..., None]) -> None:
    """A claim keeps its place of the day; the last check is here all the same, for a cap that sank meanwhile."""
    ana, job = scenes.worker(session), scenes.published(session)
    first, second = scenes.claimed(session, job, ana), scenes.claimed(session, job, ana)
    configure(daily_cap_from_silver=1)
    scenes.handed_in(session, first)
    with pytest.raises(DailyCapReached):
        scenes.handed_in(session, second)


def test_one_client_id_is_one_submission(session: Session) -> None:
    ana, job = scenes.worker(session), scenes.published(session)
    first, second = scenes.claimed(session, job, ana), scenes.claimed(session, job, ana)
    one = scenes.handed_in(session, first)
    assert submissions.by_client_id(session, worker_id=ana.id, client_id=one.client_id) is one
    assert submissions.by_client_id(session, worker_id=ids.new(), client_id=one.client_id) is None
    with pytest.raises(IntegrityError, match="client_id"):
        submissions.submit(
            session,
            client_id=one.client_id,
            assignment_id=second.id,
            worker_id=ana.id,
            files=1,
            trust="C",
            position=AUSTIN,
            now=NOW,
        )


# -- verdicts on the slot --------------------------------------------------------------------------------------------


def test_a_rejection_frees_the_slot(session: Session) -> None:
    job = scenes.published(session, files_needed=1)
    one = scenes.submission(session, job)
    assert jobs.get(session, job.id).state == "filled"
    submissions.reject(session, one.id, BROKEN, retry=False, now=later(minutes=1))
    assert (one.state, one.decided_at, one.decided_by) == ("rejected", later(minutes=1), "gates")
    assert session.get_one(Assignment, one.assignment_id).state == "rejected"
    assert jobs.get(session, job.id).state == "open"
    assert not submissions.may_retry(session, one)
    assert scenes.claimed(session, job).slot == 1


def test_a_retry_keeps_the_slot_and_gives_fresh_time(session: Session) -> None:
    job = scenes.published(session, files_needed=1)
    one = scenes.submission(session, job)
    submissions.reject(session, one.id, BAD, retry=True, now=later(minutes=10))
    assignment = session.get_one(Assignment, one.assignment_id)
    assert (assignment.state, assignment.due_at) == ("claimed", later(minutes=40))
    assert submissions.may_retry(session, one)
    assert jobs.get(session, job.id).state == "filled"
    again = scenes.handed_in(session, assignment, now=later(minutes=39))
    assert again.attempt == 2
    assert not submissions.may_retry(session, one)
    submissions.approve(session, again.id, GOOD, now=later(minutes=40))
    assert jobs.get(session, job.id).state == "completed"


def test_a_verdict_tells_the_buyer_what_it_costs_and_why(session: Session) -> None:
    job = scenes.published(session)
    good, bad = scenes.submission(session, job), scenes.submission(session, job)
    submissions.approve(session, good.id, GOOD, now=NOW)
    submissions.reject(session, bad.id, BAD, retry=True, now=NOW)
    approved, rejected = told(session, good.id)[-1], told(session, bad.id)[-1]
    assert (approved.type, approved.data["price_cents"], approved.data["stars"]) == ("submission.approved", 50, 5)
    assert (rejected.type, rejected.data["price_cents"], rejected.data["retry"]) == ("submission.rejected", 0, True)
    assert rejected.data["reason"] == BAD.reason
    assert "tier" not in str(approved.data)


@pytest.mark.parametrize("decision", [GOOD, BROKEN])
def test_what_is_decided_stays_decided(session: Session, decision: Any) -> None:
    one = scenes.submission(session)
    if decision is GOOD:
        submissions.approve(session, one.id, GOOD, now=NOW)
    else:
        submissions.reject(session, one.id, BROKEN, retry=False, now=NOW)
    before = (one.state, one.stars, one.decided_at)
    assert submissions.approve(session, one.id, GOOD, now=later(hours=1)) is None
    assert submissions.reject(session, one.id, BAD, retry=True, now=later(hours=1)) is None
    assert submissions.send_to_review(session, one.id, reason={}, now=later(hours=1)) is None
    submissions.keep_waiting(session, one.id, now=later(hours=1))
    one = submissions.get(session, one.id)
    assert (one.state, one.stars, one.decided_at, one.due_at) == (*before, None)
    assert len(told(session, one.id)) == 2


def test_a_human_has_a_day(session: Session) -> None:
    one = scenes.submission(session)
    submissions.send_to_review(session, one.id, reason={"code": "looks_alike"}, now=NOW)
    assert (one.state, one.due_at, one.reason) == ("in_review", later(hours=24), {"code": "looks_alike"})
    submissions.keep_waiting(session, one.id, now=later(hours=25))
    assert submissions.get(session, one.id).due_at == later(hours=49)


# -- whoever else is at it ---------------------------------------------------------------------------------------------

BUYERS: dict[str, Callable[[Session, Submission], object]] = {
    "cancel": lambda session, one: jobs.cancel(session, one.job_id, now=NOW),
    "close": lambda session, one: jobs.close(session, one.job_id, now=NOW),
    "pause": lambda session, one: jobs.pause(session, one.job_id),
    "expire": lambda session, one: jobs.ring(session, one.job_id, now=later(days=8)),
}
DECISIONS: dict[str, Callable[[Session, Submission], object]] = {
    "approve": lambda session, one: submissions.approve(session, one.id, GOOD, now=NOW),
    "reject": lambda session, one: submissions.reject(session, one.id, BROKEN, retry=False, now=NOW),
    "retry": lambda session, one: submissions.reject(session, one.id, BAD, retry=True, now=NOW),
}


@pytest.mark.parametrize("buyer", BUYERS)
@pytest.mark.parametrize("decision", DECISIONS)
def test_a_verdict_overtaken_by_the_buyer_leaves_nothing_behind(database: str, buyer: str, decision: str) -> None:
    with db.transaction() as session:
        one = scenes.submission(session, scenes.published(session, files_needed=2))
    refusal = scenes.overtaken(
        lambda session: BUYERS[buyer](session, one), lambda session: DECISIONS[decision](session, one)
    )
    assert refusal is None
    with db.transaction() as session:
        if decision == "approve":  # this test pays nobody: the slot's money is still there
            assert escrow.balance(session, one.job_id) == 50 + jobs.expected_escrow(session)[one.job_id]
        else:
            scenes.assert_sound(session, one.job_id)
        job = jobs.get(session, one.job_id)
        ends = {"cancel": "cancelled", "close": "closing", "pause": "paused", "expire": "expired"}
        finished = buyer == "close" and decision != "retry"
        assert job.state == ("completed" if finished else ends[buyer])


@pytest.mark.parametrize("buyer", BUYERS)
def test_a_slot_handed_back_while_the_job_ends_goes_the_right_way(database: str, buyer: str) -> None:
    with db.transaction() as session:
        assignment = scenes.claimed(session, scenes.published(session, files_needed=2))
    refusal = scenes.overtaken(
        lambda session: BUYERS[buyer](session, assignment),  # type: ignore[arg-type]  # they look at job_id alone
        lambda session: assignments.hand_back(session, assignment.id, worker_id=assignment.worker_id, now=NOW),
    )
    assert refusal is None
    with db.transaction() as session:
        scenes.assert_sound(session, assignment.job_id)
        assert escrow.balance(session, assignment.job_id) == (100 if buyer == "pause" else 0)


def test_of_two_verdicts_at_once_the_first_counts(database: str) -> None:
    with db.transaction() as session:
        one = scenes.submission(session)
    second: list[object] = []
    scenes.overtaken(
        lambda session: submissions.reject(session, one.id, BROKEN, retry=False, now=NOW),
        lambda session: second.append(submissions.approve(session, one.id, GOOD, now=NOW)),
    )
    assert second == [None]
    with db.transaction() as session:
        assert submissions.get(session, one.id).state == "rejected"
        scenes.assert_sound(session, one.job_id)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_workers_read_their_own_and_buyers_by_state(session: Session) -> None:
    ana, ben, job = scenes.worker(session), scenes.worker(session), scenes.published(session)
    hers, his = scenes.submission(session, job, ana), scenes.submission(session, job, ben)
    submissions.approve(session, his.id, GOOD, now=NOW)
    assert submissions.of_worker(session, hers.id, ana.id) is hers
    with pytest.raises(NoSuchSubmission):
        submissions.of_worker(session, hers.id, ben.id)
    with pytest.raises(NoSuchSubmission):
        submissions.get(session, ids.new())
    assert session.scalars(submissions.by_worker(ana.id)).all() == [hers]
    assert {one.id for one in session.scalars(submissions.of_job(job.id))} == {hers.id, his.id}
    assert session.scalars(submissions.of_job(job.id, state="approved")).all() == [his]
