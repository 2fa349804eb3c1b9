"""What `quality` does in the background. Each function may run twice and may be killed between any two lines."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from infra import clock, db, ids, outbox, states, telemetry
from infra.settings import settings
from infra.states import Stateful
from ingest import media
from ingest.models import Media
from ingest.probe import Facts
from jobs import jobs, places, submissions
from jobs.models import Job, Submission
from quality import assess as assessment
from quality import findings, gates, reviews, verdicts
from quality.assess import UNSCORED, Overall
from quality.facts import JobLimits, MediaFacts, Neighbour, SubmissionFacts
from quality.models import REVIEW, Review
from quality.scorers import Brief, Scorer, technical

# All that give stars; each abstains where it cannot judge.
SCORERS: tuple[Scorer, ...] = (technical.score,)

PUT_OFF = timedelta(minutes=1)  # what the clock failed at does not stand first for ever

_log = telemetry.log(__name__)

LATE = {
    "gate": "clock",
    "version": "1",
    "code": "late",
    "measured": None,
    "limit": None,
    "feedback": "The automatic checks took too long, so a person looks at it. You need not do anything.",
}


def assess(event_id: UUID) -> None:
    """
    Facts -> gates -> score -> verdict, in one transaction. Whoever comes second finds the submission decided.

    Better late than by hand: what a human has only because this took too long is decided here all the same.
    """
    with db.transaction() as session:
        submission_id = ids.read("sub", outbox.event(session, event_id).data["submission"])
        # A review is locked before its submission, as by whoever decides it.
        review = reviews.open_about(session, kind="submission", subject_id=submission_id, lock=True)
        submission = submissions.get(session, submission_id, lock=True)
        if submission.state == "in_review" and review is None:  # opened between those two lines
            review = reviews.open_about(session, kind="submission", subject_id=submission_id, lock=True)
        late = review if review is not None and review.reasons == [LATE] else None
        if submission.state == "pending" or (submission.state == "in_review" and late is not None):
            _assess(session, submission, clock.now(), late)


def _assess(session: Session, submission: Submission, now: datetime, late: Review | None = None) -> None:
    job = jobs.get(session, submission.job_id)
    facts = gather(session, submission, job)
    said = gates.run(facts, shadow=settings().shadow_gates)
    findings.keep(session, submission.id, said, now=now)
    overall = _score(session, submission, job, facts, now) if not assessment.rejects(said) else UNSCORED
    proposal = assessment.propose(
        said, overall, min_star_rating=facts.limits.min_star_rating, attempt=submission.attempt
    )
    verdicts.carry_out(session, submission.id, proposal, late=late, now=now)


def _score(session: Session, submission: Submission, job: Job, facts: SubmissionFacts, now: datetime) -> Overall:
    brief = Brief(job.title, job.description, job.worker_guidelines or "", job.scoring_criteria or "")
    scores = {one.media_id: [scorer(one.facts, brief) for scorer in SCORERS] for one in facts.media if one.facts}
    findings.keep_scores(session, submission.id, scores, now=now)
    overall = assessment.of_submission(list(scores.values()), weights=settings().scorer_weights)
    if overall.stars is not None:
        outbox.record(
            session,
            "submission.scored",
            subject=ids.show("sub", submission.id),
            organization_id=submission.organization_id,
            data={"submission": ids.show("sub", submission.id), "stars": overall.stars},
        )
    return overall


def gather(session: Session, submission: Submission, job: Job) -> SubmissionFacts:
    """Everything gates and scorers may look at."""
    return SubmissionFacts(
        limits=JobLimits(
            accepted_formats=tuple(job.accepted_formats),
            min_star_rating=job.min_star_rating,
            min_width=job.min_width,
            min_height=job.min_height,
            area=places.area_from_json(job.area) if job.area else None,
        ),
        media=tuple(_media_facts(session, one, submission) for one in media.of_submission(session, submission.id)),
        trust=submission.trust,
        position=submission.position,
        claim_position=submissions.claim_position(session, submission),
        attempt=submission.attempt,
    )


def _media_facts(session: Session, one: Media, submission: Submission) -> MediaFacts:
    return MediaFacts(
        media_id=one.id,
        facts=Facts.from_json(one.facts) if one.facts else None,
        broken=one.broken,
        copy_of=media.earlier_copy(session, one) if one.facts else None,
        neighbours=tuple(_neighbours(session, one, submission)),
    )


def _neighbours(session: Session, one: Media, submission: Submission) -> list[Neighbour]:
    """
    The look-alikes that count. Rejected work was never paid, so repeating it takes nothing from anybody; and another try
    on the same assignment is meant to show the same thing.

    Only the nearest are compared. Where they were as many as can be and some were rejected since, they may have crowded out
    one that counts, so they are named as well: a human looks.
    """
    counted = []
    likenesses = media.likenesses(one)
    crowded = len(likenesses) >= settings().near_nominations
    for likeness in likenesses:
        if likeness.submission_id == submission.id:
            standing = "same"
        elif likeness.assignment_id == submission.assignment_id:
            continue
        else:
            standing = submissions.get(session, likeness.submission_id).state
        if standing != "rejected" or crowded:
            counted.append(
                Neighbour(
                    media_id=likeness.media_id,
                    distance=likeness.distance,
                    correlation=likeness.correlation,
                    mirrored=likeness.mirrored,
                    standing=standing,  # type: ignore[arg-type]  # narrowed by the line above
                )
            )
    return counted


def ring_overdue() -> None:
    """What waited too long: submissions without a verdict go to a human, reviews nobody decided are escalated."""
    now = clock.now()
    with db.transaction() as session:
        late = submissions.overdue(session, now=now)
        unanswered = session.scalars(states.overdue(Review, REVIEW, now)).all()
    _ring_each(Submission, late, _ring_submission, now)
    _ring_each(Review, unanswered, _ring_review, now)


def _ring_each(
    model: type[Stateful], due: Sequence[UUID], ring: Callable[[Session, UUID, datetime], None], now: datetime
) -> None:
    for id in due:
        try:
            with db.transaction() as session:
                ring(session, id, now)
        except Exception:  # noqa: BLE001 - one row must not hold up all others; it is logged and comes again
            _log.exception("clock failed at a row", table=model.__tablename__, id=str(id))
            with db.transaction() as session:
                states.put_off(session, model, id, until=now + PUT_OFF)


def _ring_submission(session: Session, id: UUID, now: datetime) -> None:
    submission = submissions.get(session, id, lock=True)
    if submission.due_at is None or submission.due_at > now:  # another clock was here
        return
    if submission.state == "pending":
        verdicts.ask_human(session, id, reason=LATE, now=now)
    else:
        submissions.keep_waiting(session, id, now=now)


def _ring_review(session: Session, id: UUID, now: datetime) -> None:
    review = reviews.get(session, id, lock=True)
    if review.due_at is not None and review.due_at <= now:
        reviews.escalate(session, id, now=now)
