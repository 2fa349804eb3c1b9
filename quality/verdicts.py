"""
Verdicts: THE transaction. Submission, task, money, standing and event move together or not at all.

Everything here may be called twice: the submission's state decides which call counts.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from infra import ids
from infra.errors import Conflict, Invalid
from ingest import media, uploads
from jobs import jobs, submissions
from jobs.models import Submission
from jobs.submissions import Decision
from payouts import earnings
from payouts.money import Split
from quality import reviews, strikes
from quality.assess import RETRY_STARS, Proposal
from quality.models import Review
from tiering import standing

# What a reviewer may reject for: code -> words for the worker. The misconduct codes are strikes.
REJECTIONS = {
    "poor_quality": "A person looked at it: the quality is not good enough for this job.",
    "duplicate": "A person compared the two: it shows the same picture as an earlier submission.",
    "wrong_place": "A person looked at it: it was not made in the job's area.",
    "incomplete": "A person looked at it: something the job asks for is missing.",
    **strikes.MISCONDUCT,
}


# Rejections that judge no craft: stars would count against a worker for what is not theirs to do better.
UNSTARRED = ("duplicate", "wrong_place")


class BadReviewDecision(Invalid):
    """This decision does not fit the review."""


class NotInspected(Conflict):
    """Nobody may approve what could not be looked at."""


def carry_out(
    session: Session, submission_id: UUID, proposal: Proposal, *, late: Review | None = None, now: datetime
) -> None:
    """
    Do what the gates and scorers propose.

    :param late: a human was asked only because this took so long: they need not answer, or something better is asked
    """
    decision = Decision(by="gates", reason=proposal.reason, stars=proposal.stars)
    if late is not None and proposal.verdict == "review":
        reviews.ask_anew(session, late, reasons=_doubts(proposal.reason))
    elif late is not None:
        note = "The automatic checks came after all."
        reviews.close(session, late.id, decision="superseded", code=None, note=note, by=None, now=now)
    if proposal.verdict == "approve":
        approve(session, submission_id, decision, now=now)
    elif proposal.verdict == "reject":
        reject(session, submission_id, decision, scored=proposal.scored, retry=proposal.retry, now=now)
    else:
        ask_human(session, submission_id, reason=proposal.reason, stars=proposal.stars, now=now)


def approve(session: Session, submission_id: UUID, decision: Decision, *, now: datetime) -> Submission | None:
    """The worker is paid out of the job's escrow, and the score counts for their standing."""
    submission = submissions.approve(session, submission_id, decision, now=now)
    if submission is None:
        return None
    if not jobs.is_test(session, submission.job_id):
        earnings.pay(
            session,
            job_id=submission.job_id,
            worker_id=submission.worker_id,
            submission_id=submission.id,
            split=Split(buyer=submission.buyer_cents, worker=submission.worker_cents, fee=submission.fee_cents),
            now=now,
        )
    _count_score(session, submission, now)
    return submission


def reject(
    session: Session,
    submission_id: UUID,
    decision: Decision,
    *,
    scored: bool,
    retry: bool = False,
    strike: str | None = None,
    now: datetime,
) -> Submission | None:
    """
    The buyer pays nothing and the slot comes back.

    :param scored: the work itself was judged, so the stars count for the worker's standing
    :param strike: the misconduct, if it was one
    """
    submission = submissions.reject(session, submission_id, decision, retry=retry, now=now)
    if submission is None:
        return None
    media.stop_counting(session, submission.id)
    if scored:
        _count_score(session, submission, now)
    if strike is not None and not jobs.is_test(session, submission.job_id):
        strikes.give(session, worker_id=submission.worker_id, submission_id=submission.id, code=strike, now=now)
    return submission


def ask_human(
    session: Session, submission_id: UUID, *, reason: dict[str, Any], stars: int | None = None, now: datetime
) -> Submission | None:
    """The submission waits for a reviewer; its slot and money wait with it."""
    submission = submissions.send_to_review(session, submission_id, reason=reason, stars=stars, now=now)
    if submission is not None:
        reviews.open(
            session,
            kind="submission",
            subject_id=submission.id,
            worker_id=submission.worker_id,
            job_id=submission.job_id,
            reasons=_doubts(reason),
            held_cents=submission.worker_cents,
            now=now,
        )
    return submission


def decide_review(
    session: Session,
    review_id: UUID,
    *,
    decision: str,
    code: str | None,
    stars: int | None,
    note: str,
    by: UUID,
    by_shown: str,
    now: datetime,
) -> Review:
    """
    Carry out what a reviewer decided: approve or reject a submission, uphold or lift a ban.

    :param stars: default to the scorers' stars, or to what the job asks for; misconduct is always 1
    :raises BadReviewDecision: says which decisions fit
    :raises NotInspected: approving a file that nothing is known of, or that is broken
    :raises IllegalMove: decided before
    """
    review = reviews.get(session, review_id)
    fitting = {"submission": ("approve", "reject"), "ban": ("uphold", "lift")}[review.kind]
    if decision not in fitting:
        raise BadReviewDecision(f"A review of a {review.kind} takes {' or '.join(fitting)}.", field="decision")
    if decision == "reject" and code not in REJECTIONS:
        raise BadReviewDecision(f"Say why: {', '.join(REJECTIONS)}.", field="code")
    if decision == "lift":
        _lift_ban(session, review.worker_id, now=now)  # before the review is touched: see `lift_ban`
    reviews.close(session, review_id, decision=decision, code=code, note=note, by=by, now=now)
    if decision == "approve":
        _approve_by_hand(session, review.subject_id, stars, by_shown, now=now)
    elif decision == "reject" and code is not None:
        _reject_by_hand(session, review.subject_id, code, stars, by_shown, now=now)
    return review


def _approve_by_hand(session: Session, submission_id: UUID, stars: int | None, by: str, *, now: datetime) -> None:
    """A human may find it better than the scorers did, never good enough with fewer stars than the job asks for."""
    _require_inspected(session, submission_id)
    submission = submissions.get(session, submission_id)
    limit = jobs.get(session, submission.job_id).min_star_rating
    if stars is not None and stars < limit:
        raise BadReviewDecision(
            f"This job asks for at least {limit} stars: give so many, or reject it.", field="stars", limit=limit
        )
    reason = _reason("approved", "A person looked at it and found it good.")
    approve(session, submission_id, Decision(by, reason, stars or max(limit, submission.stars or 0)), now=now)


def _reject_by_hand(
    session: Session, submission_id: UUID, code: str, stars: int | None, by: str, *, now: datetime
) -> None:
    """Stars of a human mean what those of the scorers mean: two on the first attempt give one more try."""
    misconduct = code if code in strikes.MISCONDUCT else None
    given = 1 if misconduct else None if code in UNSTARRED else stars
    first = submissions.get(session, submission_id).attempt == 1
    reject(
        session,
        submission_id,
        Decision(by, _reason(code, REJECTIONS[code]), given),
        scored=given is not None,
        retry=given == RETRY_STARS and first,
        strike=misconduct,
        now=now,
    )


def _require_inspected(session: Session, submission_id: UUID) -> None:
    """
    :raises NotInspected: names the file
    """
    known = {one.id: one for one in media.of_submission(session, submission_id)}
    broken = next((one.id for one in known.values() if one.broken), None)
    if broken:
        raise NotInspected(f"{ids.show('med', broken)} is broken: reject the submission.")
    for upload in uploads.of_submission(session, submission_id):
        if upload.id not in known or known[upload.id].neighbours is None:
            shown = ids.show("med", upload.id)
            raise NotInspected(f"{shown}: it has not been inspected yet: retry the background work, then decide.")


def lift_ban(session: Session, worker_id: UUID, *, by: UUID, note: str, now: datetime) -> bool:
    """
    Access comes back with the tier as it was, the strikes behind the ban stop counting, and the ban's review is closed.
    False if the worker is not banned.

    Worker before review, whoever lifts: two at once would wait for each other.
    """
    if not _lift_ban(session, worker_id, now=now):
        return False
    review = reviews.open_about(session, kind="ban", subject_id=worker_id)
    if review is not None:
        reviews.close(session, review.id, decision="lift", code=None, note=note, by=by, now=now)
    return True


def _lift_ban(session: Session, worker_id: UUID, *, now: datetime) -> bool:
    if not standing.lift_ban(session, worker_id=worker_id, now=now):
        return False
    strikes.lift_all(session, worker_id, now=now)
    return True


def _doubts(reason: dict[str, Any]) -> list[dict[str, Any]]:
    """Every reason to ask a human, of which the first is the one the worker reads."""
    return list(reason.get("doubts", [reason]))


def _count_score(session: Session, submission: Submission, now: datetime) -> None:
    """A dry run counts for nobody's standing: its buyer could be the worker's friend."""
    if submission.stars is not None and not jobs.is_test(session, submission.job_id):
        standing.record_outcome(
            session, worker_id=submission.worker_id, submission_id=submission.id, stars=submission.stars, now=now
        )
        standing.reconsider(session, submission.worker_id, now)


def _reason(code: str, feedback: str) -> dict[str, Any]:
    return {"gate": "review", "version": "1", "code": code, "measured": None, "limit": None, "feedback": feedback}
