"""Reviews: asked once, decided once, by what fits; and overdue ones are said aloud, never decided by a clock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from threading import Event as Event_
from time import sleep
from typing import Any, cast
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from infra import db, ids
from infra.outbox import Event
from infra.states import IllegalMove
from ingest import media, uploads
from ingest.breakage import Broken, Code
from ingest.media import Owner
from ingest.uploads import Declaration
from jobs import jobs, submissions
from jobs.models import Assignment, Submission
from payouts import earnings
from quality import reviews, strikes, verdicts
from quality.models import Review
from quality.reviews import NoSuchReview
from quality.verdicts import REJECTIONS, BadReviewDecision, NotInspected
from tests.jobs import scenes
from tests.jobs.scenes import NOW, later
from tiering.models import Outcome, Worker

EVA = ids.new()
DOUBT = {"gate": "near_duplicate", "code": "looks_alike", "feedback": "A person compares the two."}


def doubtful(session: Session, worker: Worker | None = None) -> tuple[Submission, Review]:
    """A submission that a human must look at, and the question."""
    one = scenes.submission(session, by=worker)
    verdicts.ask_human(session, one.id, reason=DOUBT, now=NOW)
    review = reviews.open_about(session, kind="submission", subject_id=one.id)
    assert review is not None
    return one, review


def banned(session: Session) -> tuple[Worker, Review]:
    ana = scenes.worker(session, "gold")
    for _ in range(3):
        strikes.give(session, worker_id=ana.id, submission_id=ids.new(), code="fraud", now=NOW)
    review = reviews.open_about(session, kind="ban", subject_id=ana.id)
    assert review is not None
    return ana, review


def decide(
    session: Session, review: Review, decision: str, code: str | None = None, stars: int | None = None
) -> Review:
    return verdicts.decide_review(
        session,
        review.id,
        decision=decision,
        code=code,
        stars=stars,
        note="Looked at both.",
        by=EVA,
        by_shown=ids.show("stf", EVA),
        now=later(hours=1),
    )


def counted(session: Session, submission_id: UUID) -> int | None:
    return session.scalar(select(Outcome.stars).where(Outcome.submission_id == submission_id))


def told(session: Session, review_id: UUID) -> list[str]:
    of_it = select(Event.type).where(Event.subject == ids.show("rev", review_id)).order_by(Event.id)
    return list(session.scalars(of_it))


# -- asking ------------------------------------------------------------------------------------------------------------


def ask(session: Session, subject_id: UUID, kind: str = "submission") -> UUID | None:
    return reviews.open(session, kind=kind, subject_id=subject_id, worker_id=subject_id, reasons=[DOUBT], now=NOW)


def test_a_question_is_open_once_and_can_come_up_again(session: Session) -> None:
    subject = ids.new()
    first = ask(session, subject)
    assert first is not None
    assert ask(session, subject) is None
    assert ask(session, subject, "ban") is not None  # another question
    reviews.close(session, first, decision="approve", code=None, note="Fine.", by=EVA, now=NOW)
    again = ask(session, subject)
    assert again not in (None, first)
    assert told(session, first) == ["review.opened", "review.decided"]


def test_many_questions_on_one_connection(session: Session) -> None:
    """PostgreSQL changes to a generic plan after ten: a conflict must still find its index."""
    for _ in range(15):
        subject = ids.new()
        assert ask(session, subject) is not None
        assert ask(session, subject) is None


def test_the_queue_is_by_kind_and_state(session: Session) -> None:
    (one, first), (ana, second) = doubtful(session), banned(session)
    assert set(session.scalars(reviews.queue())) == {first, second}
    assert session.scalars(reviews.queue(kind="ban")).all() == [second]
    assert reviews.count_open(session) == 2
    decide(session, first, "approve")
    assert session.scalars(reviews.queue(kind="submission")).all() == []
    assert session.scalars(reviews.queue(state="decided")).all() == [first]
    assert reviews.count_open(session) == 1
    assert (reviews.get(session, first.id).subject_id, second.subject_id) == (one.id, ana.id)
    with pytest.raises(NoSuchReview):
        reviews.get(session, ids.new())


# -- deciding about a submission ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stars", "count"), [(None, 3), (5, 5)])
def test_a_human_can_approve(session: Session, stars: int | None, count: int) -> None:
    one, review = doubtful(session)
    decide(session, review, "approve", stars=stars)
    assert (one.state, one.stars, one.decided_by) == ("approved", count, ids.show("stf", EVA))
    assert one.reason is not None
    assert one.reason["code"] == "approved"
    assert earnings.balance(session, one.worker_id) == 40
    assert counted(session, one.id) == count
    assert (review.state, review.decision, review.decided_by, review.due_at) == ("decided", "approve", EVA, None)
    assert review.note == "Looked at both."
    assert told(session, review.id) == ["review.opened", "review.decided"]
    scenes.assert_sound(session, one.job_id)


@pytest.mark.parametrize(("scored", "count"), [(None, 4), (2, 4), (5, 5)])
def test_a_human_approves_with_the_scorers_stars_or_what_the_job_asks(
    session: Session, scored: int | None, count: int
) -> None:
    one = scenes.submission(session, scenes.published(session, min_star_rating=4))
    verdicts.ask_human(session, one.id, reason=DOUBT, stars=scored, now=NOW)
    review = reviews.open_about(session, kind="submission", subject_id=one.id)
    assert review is not None
    with pytest.raises(BadReviewDecision, match="at least 4 stars") as refused, session.begin_nested():
        decide(session, review, "approve", stars=3)
    assert refused.value.members == {"field": "stars", "limit": 4}
    decide(session, reviews.get(session, review.id), "approve")
    assert submissions.get(session, one.id).stars == count == counted(session, one.id)


@pytest.mark.parametrize(
    ("code", "stars", "retry"), [("poor_quality", 2, True), ("poor_quality", 1, False), ("fraud", 2, False)]
)
def test_two_stars_of_a_human_may_try_again_too(session: Session, code: str, stars: int, retry: bool) -> None:
    one, review = doubtful(session)
    decide(session, review, "reject", code, stars)
    assert submissions.may_retry(session, one) is retry
    scenes.assert_sound(session, one.job_id)


def test_there_is_one_more_try_and_no_third(session: Session) -> None:
    one, review = doubtful(session)
    decide(session, review, "reject", "poor_quality", 2)
    again = scenes.handed_in(session, session.get_one(Assignment, one.assignment_id))
    verdicts.ask_human(session, again.id, reason=DOUBT, now=NOW)
    second = reviews.open_about(session, kind="submission", subject_id=again.id)
    assert second is not None
    decide(session, second, "reject", "poor_quality", 2)
    assert not submissions.may_retry(session, again)


@pytest.mark.parametrize("code", ["duplicate", "wrong_place"])
def test_stars_say_nothing_of_what_is_no_craft(session: Session, code: str) -> None:
    one, review = doubtful(session)
    decide(session, review, "reject", code, 2)
    assert (one.stars, counted(session, one.id), submissions.may_retry(session, one)) == (None, None, False)


@pytest.mark.parametrize("known", ["nothing", "broken"])
def test_what_nobody_could_look_at_is_not_approved(session: Session, known: str) -> None:
    one, review = doubtful(session)
    upload, _ = uploads.begin(
        session,
        worker_id=one.worker_id,
        assignment_id=one.assignment_id,
        declared=Declaration(1, "image/jpeg", bytes(32)),
        accepted=["image/jpeg"],
        claim_ends=later(hours=1),
        now=NOW,
    )
    uploads.submit(session, [upload], submission_id=one.id)
    if known == "broken":
        whose = Owner(one.id, one.assignment_id, one.job_id, one.organization_id, one.worker_id)
        media.record_broken(session, upload, whose, Broken(Code.TRUNCATED, "Cut."), now=NOW)
    said = {"nothing": "has not been inspected yet: retry the background work", "broken": "is broken: reject"}
    with pytest.raises(NotInspected, match=said[known]), session.begin_nested():
        decide(session, review, "approve")
    assert submissions.get(session, one.id).state == "in_review"
    decide(session, reviews.get(session, review.id), "reject", "poor_quality")
    assert submissions.get(session, one.id).state == "rejected"


@pytest.mark.parametrize("code", REJECTIONS)
def test_a_human_can_reject_for_what_is_known_and_misconduct_is_a_strike(session: Session, code: str) -> None:
    one, review = doubtful(session)
    decide(session, review, "reject", code)
    misconduct = code in strikes.MISCONDUCT
    assert one.state == "rejected"
    assert one.reason is not None
    assert (one.reason["code"], one.reason["feedback"]) == (code, REJECTIONS[code])
    assert (one.stars, counted(session, one.id)) == ((1, 1) if misconduct else (None, None))
    assert strikes.standing_count(session, one.worker_id) == misconduct
    assert session.get_one(Assignment, one.assignment_id).state == "rejected"
    assert jobs.get(session, one.job_id).state == "open"
    assert earnings.balance(session, one.worker_id) == 0


def test_stars_of_a_human_count_and_misconduct_is_one(session: Session) -> None:
    (poor, first), (fraud, second) = doubtful(session), doubtful(session)
    decide(session, first, "reject", "poor_quality", stars=2)
    decide(session, second, "reject", "fraud", stars=5)
    assert (counted(session, poor.id), counted(session, fraud.id)) == (2, 1)


@pytest.mark.parametrize(
    ("kind", "decision", "code", "field"),
    [
        ("submission", "lift", None, "decision"),
        ("submission", "uphold", None, "decision"),
        ("submission", "burn", None, "decision"),
        ("submission", "reject", None, "code"),
        ("submission", "reject", "ugly", "code"),
        ("ban", "approve", None, "decision"),
        ("ban", "reject", "fraud", "decision"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    session: Session, kind: str, decision: str, code: str | None, field: str
) -> None:
    one, about_one = doubtful(session)
    ana, about_ana = banned(session)
    review = about_one if kind == "submission" else about_ana
    with pytest.raises(BadReviewDecision) as refused:
        decide(session, review, decision, code)
    assert refused.value.members["field"] == field
    assert (about_one.state, about_ana.state, one.state, ana.state) == ("open", "open", "in_review", "banned")


def test_a_decision_is_made_once(session: Session) -> None:
    one, review = doubtful(session)
    decide(session, review, "reject", "poor_quality")
    with pytest.raises(IllegalMove):
        decide(session, review, "approve")
    assert submissions.get(session, one.id).state == "rejected"
    assert (review.decision, earnings.balance(session, one.worker_id)) == ("reject", 0)


def test_of_two_reviewers_at_once_one_decides(database: str) -> None:
    for _ in range(3):
        with db.transaction() as session:
            one, review = doubtful(session)
        start = Barrier(6)

        def race(number: int, review: Review = review, start: Barrier = start) -> str | None:
            start.wait()
            try:
                with db.transaction() as session:
                    decision, code = [("approve", None), ("reject", "fraud")][number % 2]
                    return decide(session, review, decision, code).decision
            except IllegalMove:
                return None

        with ThreadPoolExecutor(6) as pool:
            (made,) = [decision for decision in pool.map(race, range(6)) if decision]
        with db.transaction() as session:
            assert reviews.get(session, review.id).decision == made
            state = submissions.get(session, one.id).state
            assert state == {"approve": "approved", "reject": "rejected"}[made]
            assert earnings.balance(session, one.worker_id) == (40 if made == "approve" else 0)
            assert strikes.standing_count(session, one.worker_id) == (made == "reject")


# -- deciding about a ban ----------------------------------------------------------------------------------------------


def test_a_ban_upheld_stands(session: Session) -> None:
    ana, review = banned(session)
    decide(session, review, "uphold")
    assert (ana.state, review.state, review.decision) == ("banned", "decided", "uphold")
    assert strikes.standing_count(session, ana.id) == 3
    # A later appeal can still be granted, though no question is open any more.
    assert verdicts.lift_ban(session, ana.id, by=EVA, note="New evidence.", now=later(days=1))
    assert ana.state == "active"


def test_a_ban_lifted_gives_access_and_tier_back(session: Session) -> None:
    ana, review = banned(session)
    decide(session, review, "lift")
    assert (ana.state, ana.tier, ana.ban_reason) == ("active", "gold", None)
    assert strikes.standing_count(session, ana.id) == 0
    assert told(session, review.id) == ["review.opened", "review.decided"]


def test_two_who_lift_a_ban_at_once_do_not_wait_for_each_other(database: str) -> None:
    """One from the ban's review, one from the worker's page."""
    for first in ("review", "page"):
        with db.transaction() as session:
            ana, review = banned(session)
        lifts: dict[str, Callable[[Session], object]] = {
            "review": lambda session, review=review: decide(session, review, "lift"),
            "page": lambda session, ana=ana: verdicts.lift_ban(session, ana.id, by=EVA, note="So.", now=NOW),
        }
        locked, real = Event_(), reviews.close

        def slow(*args: Any, locked: Any = locked, real: Any = real, **more: Any) -> Review:
            """Slow enough for the other to lock what comes first for it, before and after the review is locked here."""
            sleep(0.2)
            review = cast(Review, real(*args, **more))
            locked.set()
            sleep(0.4)
            return review

        def lift(who: str, lifts: Any = lifts) -> Exception | None:
            try:
                with db.transaction() as session:
                    lifts[who](session)
            except IllegalMove as decided:
                return decided
            return None

        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
            patch.setattr(reviews, "close", slow)
            one = pool.submit(lift, first)
            locked.wait(5)
            two = pool.submit(lift, {"review": "page", "page": "review"}[first])
            said = [one.result(), two.result()]
        assert said[0] is None
        with db.transaction() as session:
            assert session.get_one(Worker, ana.id).state == "active"


def test_lifting_a_ban_elsewhere_answers_the_open_question(session: Session) -> None:
    ana, review = banned(session)
    verdicts.lift_ban(session, ana.id, by=EVA, note="Our mistake.", now=later(hours=1))
    assert (review.state, review.decision, review.note, review.decided_by) == ("decided", "lift", "Our mistake.", EVA)


def test_money_already_earned_stays_the_workers(session: Session) -> None:
    ana = scenes.worker(session)
    _, review = doubtful(session, ana)
    decide(session, review, "approve")
    for _ in range(3):
        strikes.give(session, worker_id=ana.id, submission_id=ids.new(), code="fraud", now=NOW)
    assert ana.state == "banned"
    assert earnings.balance(session, ana.id) == 40


# -- overdue -----------------------------------------------------------------------------------------------------------


def test_an_overdue_review_is_said_aloud_and_stays_open(session: Session) -> None:
    one, review = doubtful(session)
    for round in (1, 2):
        assert reviews.escalate(session, review.id, now=later(days=round)) is not None
        assert (review.state, review.escalations, review.due_at) == ("open", round, later(days=round + 1))
    assert told(session, review.id) == ["review.opened", "review.overdue", "review.overdue"]
    assert submissions.get(session, one.id).state == "in_review"


def test_what_is_decided_does_not_escalate(session: Session) -> None:
    _, review = doubtful(session)
    decide(session, review, "approve")
    assert reviews.escalate(session, review.id, now=later(days=2)) is None
    assert (review.state, review.escalations) == ("decided", 0)


def test_the_database_keeps_one_open_question(session: Session) -> None:
    _, review = doubtful(session)
    columns: dict[str, Any] = {column.key: getattr(review, column.key) for column in Review.__mapper__.columns}
    twin = Review(**columns | {"id": ids.new()})
    session.add(twin)
    with pytest.raises(Exception, match="uq_reviews_open"):
        session.flush()
