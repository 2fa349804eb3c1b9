"""From stored facts to a verdict: which look-alikes count, what runs twice, and what the clock does with what overstays."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from infra import clock, db, ids
from infra.outbox import Event
from ingest.breakage import Broken, Code
from ingest.media import Likeness
from ingest.models import Media
from ingest.probe import Facts
from jobs import jobs, organizations, submissions
from jobs.models import Assignment, Submission
from payouts import earnings
from quality import background, findings, gates, reviews, strikes, verdicts
from quality.models import FindingRow, Review, ScoreRow
from quality.scorers import Brief, Scorer, Scores
from tests.jobs import scenes
from tests.jobs.scenes import BAD, GOOD, NOW, later
from tests.quality import facts as made
from tiering import caps
from tiering.models import Outcome


def scorer(*stars: float, name: str = "eye", **why: Any) -> Callable[[Facts, Brief], Scores]:
    return lambda _facts, _brief: made.scores(*stars, scorer=name, **why)


@pytest.fixture(autouse=True)
def five_stars(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pixels are worth is tested elsewhere."""
    monkeypatch.setattr(background, "SCORERS", (scorer(5),))


def arrived(
    session: Session,
    one: Submission,
    *,
    facts: Facts | None = None,
    broken: Broken | None = None,
    like: tuple[tuple[Media, int, float], ...] = (),
    sha256: bytes | None = None,
) -> Media:
    """An inspected file of this submission, whose look-alikes are known by distance and correlation."""
    media = Media(
        id=ids.new(),
        submission_id=one.id,
        assignment_id=one.assignment_id,
        job_id=one.job_id,
        organization_id=one.organization_id,
        worker_id=one.worker_id,
        key=str(ids.new()),
        sha256=sha256 or ids.new().bytes * 2,
        facts=None if broken else (facts or made.PHOTO).as_json(),
        broken=broken.as_json() if broken else None,
        nominated=[],
        neighbours=[likeness(*each) for each in like],
        counts=True,
        test=jobs.is_test(session, one.job_id),
        inspected_at=NOW,
    )
    session.add(media)
    session.flush()
    return media


def likeness(other: Media, distance: int, correlation: float) -> dict[str, Any]:
    seen = Likeness(
        other.id, other.submission_id, other.assignment_id, other.worker_id, distance, correlation, 50, mirrored=False
    )
    return {name: str(value) if isinstance(value, UUID) else value for name, value in asdict(seen).items()}


def judged(session: Session, one: Submission) -> Submission:
    """What the background function does of it, in the test's own transaction."""
    background._assess(session, one, later(seconds=10))
    return submissions.get(session, one.id)


def counts(session: Session) -> tuple[int, int]:
    return tuple(session.scalar(select(func.count()).select_from(row)) or 0 for row in (FindingRow, ScoreRow))  # type: ignore[return-value]


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_a_good_photo_is_paid_and_every_word_is_kept(session: Session) -> None:
    one = scenes.submission(session)
    arrived(session, one)
    judged(session, one)
    assert (one.state, one.stars, earnings.balance(session, one.worker_id)) == ("approved", 5, 40)
    assert one.reason is not None
    assert (one.reason["gate"], one.reason["measured"], one.reason["limit"]) == ("score", 5, 3)
    said = findings.of_submission(session, one.id)
    assert [row.gate for row in said] == [
        "attestation",
        "bytes",
        "content_hash",
        "resolution",
        "near_duplicate",
        "place",
    ]
    (score,) = findings.scores_of(session, one.id)
    assert (score["scorer"], score["version"]) == ("eye", "eye/1")
    told = session.scalars(select(Event.type).where(Event.subject == ids.show("sub", one.id)).order_by(Event.id)).all()
    assert told == ["submission.received", "submission.scored", "submission.approved"]


def test_a_broken_file_is_not_scored(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "SCORERS", (lambda *_: 1 / 0,))
    one = scenes.submission(session)
    arrived(session, one, broken=Broken(Code.TRUNCATED, "It ends too early. Send it again.", 10, 20))
    judged(session, one)
    assert (one.state, one.stars) == ("rejected", None)
    assert one.reason == {
        "gate": "bytes",
        "version": "1",
        "code": "truncated",
        "measured": 10,
        "limit": 20,
        "feedback": "It ends too early. Send it again.",
    }
    assert counts(session)[1] == 0


def test_too_small_shows_one_star_and_no_strike(session: Session) -> None:
    one = scenes.submission(session, scenes.published(session, min_width=5_000))
    arrived(session, one)
    judged(session, one)
    assert (one.state, one.stars) == ("rejected", 1)
    assert one.reason is not None
    assert (one.reason["gate"], one.reason["measured"], one.reason["limit"]) == ("resolution", "4000x3000", "5000x1")
    assert not submissions.may_retry(session, one)


@pytest.mark.parametrize(("stars", "retry"), [(2, True), (1, False)])
def test_poor_work_is_rejected_and_two_stars_may_retry(
    session: Session, monkeypatch: pytest.MonkeyPatch, stars: int, retry: bool
) -> None:
    monkeypatch.setattr(background, "SCORERS", (scorer(stars, reason="blurred", feedback="Hold still."),))
    one = scenes.submission(session)
    arrived(session, one)
    judged(session, one)
    assert (one.state, one.stars, submissions.may_retry(session, one)) == ("rejected", stars, retry)
    assert one.reason is not None
    assert (one.reason["code"], one.reason["feedback"]) == ("blurred", "Hold still.")


def test_a_retry_has_no_third_try(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "SCORERS", (scorer(2),))
    first = scenes.submission(session)
    arrived(session, first)
    judged(session, first)
    second = scenes.handed_in(session, session.get_one(Assignment, first.assignment_id))
    arrived(session, second)
    judged(session, second)
    assert (second.state, second.attempt, submissions.may_retry(session, second)) == ("rejected", 2, False)


def test_the_worst_of_several_files_counts(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        background, "SCORERS", (lambda facts, _: made.scores(5 if facts.width == 4_000 else 1, scorer="eye"),)
    )
    one = scenes.submission(session, scenes.published(session, files_per_submission=2))
    arrived(session, one)
    arrived(session, one, facts=made.photo(width=3_999))
    judged(session, one)
    assert (one.state, one.stars) == ("rejected", 1)


@pytest.mark.parametrize("scorers", [(scorer(1), scorer(5, name="other")), (scorer(),), ()])
def test_scorers_that_cannot_say_leave_it_to_a_human(
    session: Session, monkeypatch: pytest.MonkeyPatch, scorers: Any
) -> None:
    monkeypatch.setattr(background, "SCORERS", scorers)
    one = scenes.submission(session)
    arrived(session, one)
    judged(session, one)
    assert one.state == "in_review"
    assert reviews.open_about(session, kind="submission", subject_id=one.id) is not None


# -- doubts ------------------------------------------------------------------------------------------------------------


def test_an_unsigned_submission_waits_for_a_human(session: Session) -> None:
    job = scenes.published(session)
    one = scenes.handed_in(session, scenes.claimed(session, job), trust="D")
    arrived(session, one)
    judged(session, one)
    assert one.state == "in_review"
    review = reviews.open_about(session, kind="submission", subject_id=one.id)
    assert review is not None
    assert [(doubt["gate"], doubt["code"]) for doubt in review.reasons] == [("attestation", "unsigned")]
    assert earnings.balance(session, one.worker_id) == 0


@pytest.mark.parametrize(
    ("standing", "state"),
    [("approved", "rejected"), ("pending", "in_review"), ("in_review", "in_review"), ("rejected", "approved")],
)
def test_which_earlier_work_a_look_alike_is_measured_by(session: Session, standing: str, state: str) -> None:
    """Rejected work was never paid: whoever shows the same again takes nothing from anybody."""
    earlier = scenes.submission(session)
    file = arrived(session, earlier)
    if standing == "approved":
        verdicts.approve(session, earlier.id, GOOD, now=NOW)
    elif standing == "rejected":
        verdicts.reject(session, earlier.id, BAD, scored=True, now=NOW)
    elif standing == "in_review":
        verdicts.ask_human(session, earlier.id, reason={"code": "doubt"}, now=NOW)
    one = scenes.submission(session)
    arrived(session, one, like=((file, 4, 0.9),))
    judged(session, one)
    assert one.state == state
    if state == "rejected":
        assert one.reason is not None
        assert (one.reason["gate"], one.reason["measured"]["media"]) == ("near_duplicate", ids.show("med", file.id))
        assert one.stars is None


def test_another_try_may_show_the_same_thing(session: Session) -> None:
    first = scenes.submission(session)
    file = arrived(session, first)
    verdicts.reject(session, first.id, BAD, scored=True, retry=True, now=NOW)
    again = scenes.handed_in(session, session.get_one(Assignment, first.assignment_id))
    arrived(session, again, like=((file, 0, 1.0),))
    judged(session, again)
    assert again.state == "approved"


def test_two_alike_files_in_one_submission_are_one_too_many(session: Session) -> None:
    one = scenes.submission(session, scenes.published(session, files_per_submission=2))
    first = arrived(session, one)
    arrived(session, one, like=((first, 3, 0.9),))
    judged(session, one)
    assert one.state == "rejected"


def test_the_very_same_bytes_on_the_same_job_are_a_copy(session: Session) -> None:
    ana, job = scenes.worker(session), scenes.published(session)
    first, second = scenes.submission(session, job, ana), scenes.submission(session, job, ana)
    file = arrived(session, first, sha256=b"s" * 32)
    arrived(session, second, sha256=b"s" * 32)
    judged(session, second)
    assert second.state == "rejected"
    assert second.reason is not None
    assert (second.reason["gate"], second.reason["measured"]) == ("content_hash", ids.show("med", file.id))
    judged(session, first)
    assert first.state == "approved"


def test_another_try_may_send_the_good_file_again(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two files one was poor."""
    by_width: Scorer = lambda facts, _: made.scores(5 if facts.width == 4_000 else 2, scorer="eye")  # noqa: E731
    monkeypatch.setattr(background, "SCORERS", (by_width,))
    first = scenes.submission(session, scenes.published(session, files_per_submission=2))
    arrived(session, first, sha256=b"g" * 32)
    arrived(session, first, facts=made.photo(width=3_999))
    judged(session, first)
    assert submissions.may_retry(session, first)
    again = scenes.handed_in(session, session.get_one(Assignment, first.assignment_id))
    arrived(session, again, sha256=b"g" * 32)
    arrived(session, again)
    assert judged(session, again).state == "approved"


def test_a_good_file_beside_a_broken_one_may_be_sent_again(session: Session) -> None:
    ana, job = scenes.worker(session), scenes.published(session, files_per_submission=2)
    first = scenes.submission(session, job, ana)
    arrived(session, first, sha256=b"g" * 32)
    arrived(session, first, broken=Broken(Code.TRUNCATED, "It ends too early. Send it again.", 10, 20))
    assert judged(session, first).state == "rejected"
    again = scenes.submission(session, job, ana)
    arrived(session, again, sha256=b"g" * 32)
    arrived(session, again)
    assert judged(session, again).state == "approved"


def test_the_same_bytes_twice_at_once_are_a_copy(session: Session) -> None:
    one = scenes.submission(session, scenes.published(session, files_per_submission=2))
    for _ in range(2):
        arrived(session, one, sha256=b"s" * 32)
    judged(session, one)
    assert one.reason is not None
    assert (one.state, one.reason["gate"]) == ("rejected", "content_hash")


@pytest.mark.parametrize(("copies", "state"), [(20, "in_review"), (19, "approved")])
def test_copies_rejected_after_the_look_may_have_hidden_another(session: Session, copies: int, state: str) -> None:
    """Sent all at once, they were the nearest when the look-alikes were chosen."""
    earlier = scenes.submission(session)
    like = tuple((arrived(session, earlier), 3, 0.9) for _ in range(copies))
    one = scenes.submission(session)
    arrived(session, one, like=like)
    verdicts.reject(session, earlier.id, BAD, scored=True, now=NOW)
    assert judged(session, one).state == state


def test_a_dry_run_says_nothing_of_anybody(session: Session) -> None:
    """Its buyer could be the worker's friend."""
    ana, organization = scenes.worker(session, "new", email="friend@example.org"), scenes.buyer(session, 0)
    job = scenes.published(session, organization.id, test=True, test_emails=["friend@example.org"], files_needed=80)
    before = caps.used(session, ana.id, later(minutes=31))
    for number in range(6):
        one = scenes.handed_in(session, scenes.claimed(session, job, ana, now=later(minutes=31)), now=later(minutes=31))
        if number:
            arrived(session, one)
            assert judged(session, one).state == "approved"
        else:
            verdicts.reject(session, one.id, BAD, scored=True, strike="fraud", now=NOW)
    session.refresh(ana)
    assert ana.tier == "new"
    assert session.scalar(select(func.count()).select_from(Outcome)) == 0
    assert strikes.standing_count(session, ana.id) == 0
    assert caps.used(session, ana.id, later(minutes=31)) == before
    assert organizations.refresh_scorecards(session, since=later(days=-1)) == 0


@pytest.mark.parametrize("other", ["worker", "job"])
def test_the_same_bytes_elsewhere_are_the_near_duplicate_gates_case(session: Session, other: str) -> None:
    ana, job = scenes.worker(session), scenes.published(session)
    first = scenes.submission(session, job, ana)
    arrived(session, first, sha256=b"s" * 32)
    second = scenes.submission(
        session, job if other == "worker" else scenes.published(session), None if other == "worker" else ana
    )
    arrived(session, second, sha256=b"s" * 32)
    judged(session, second)
    assert second.state == "approved"


def test_a_shadow_gate_is_kept_and_does_not_act(session: Session, configure: Any) -> None:
    configure(shadow_gates=["resolution", "attestation"])
    one = scenes.handed_in(session, scenes.claimed(session, scenes.published(session, min_width=5_000)), trust="D")
    arrived(session, one)
    judged(session, one)
    assert one.state == "approved"
    shadow = {row.gate: (row.outcome, row.shadow) for row in findings.of_submission(session, one.id) if row.shadow}
    assert shadow == {"attestation": ("review", True), "resolution": ("reject", True)}


def test_with_the_bytes_gate_in_shadow_a_human_sees_the_broken_file(session: Session, configure: Any) -> None:
    configure(shadow_gates=["bytes"])
    one = scenes.submission(session)
    arrived(session, one, broken=Broken(Code.UNDECODABLE, "It cannot be read."))
    judged(session, one)
    assert one.state == "in_review"


# -- twice, and late ---------------------------------------------------------------------------------------------------


def inspected(session: Session, one: Submission) -> UUID:
    """The event that calls `assess`."""
    shown = ids.show("sub", one.id)
    event = Event(id=ids.new(), type="media.inspected", subject=shown, data={"submission": shown}, created_at=NOW)
    session.add(event)
    return event.id


def test_what_runs_twice_counts_once(database: str) -> None:
    with db.transaction() as session:
        one = scenes.submission(session)
        arrived(session, one)
        event_id = inspected(session, one)
    background.assess(event_id)
    with db.transaction() as session:
        before = counts(session)
    background.assess(event_id)
    with db.transaction() as session:
        assert counts(session) == before == (6, 1)
        assert earnings.balance(session, one.worker_id) == 40
        scenes.assert_sound(session, one.job_id)


def test_killed_before_the_commit_it_starts_again(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with db.transaction() as session:
        one = scenes.submission(session)
        arrived(session, one)
        event_id = inspected(session, one)
    with monkeypatch.context() as broken:
        broken.setattr(verdicts, "carry_out", lambda *_args, **_more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            background.assess(event_id)
    with db.transaction() as session:
        assert counts(session) == (0, 0)
    background.assess(event_id)
    with db.transaction() as session:
        assert submissions.get(session, one.id).state == "approved"


def test_findings_are_written_once_even_if_another_run_wrote_them(session: Session) -> None:
    one = scenes.submission(session)
    arrived(session, one)
    said = gates.run(background.gather(session, one, jobs.get(session, one.job_id)))
    for _ in range(2):
        findings.keep(session, one.id, said, now=NOW)
    assert counts(session)[0] == len(said)


def test_the_clock_hands_late_submissions_to_a_human(database: str) -> None:
    now = clock.now()
    with db.transaction() as session:
        job = scenes.published(session, now=now)
        late, fresh, done = (
            scenes.handed_in(session, scenes.claimed(session, job, now=now), now=now) for _ in range(3)
        )
        fresh.due_at = now + timedelta(hours=2)
        verdicts.approve(session, done.id, GOOD, now=now)
    clock.shift(timedelta(minutes=14))
    background.ring_overdue()
    with db.transaction() as session:
        assert submissions.get(session, late.id).state == "pending"
    clock.shift(timedelta(minutes=16))
    background.ring_overdue()
    background.ring_overdue()
    with db.transaction() as session:
        found = submissions.get(session, late.id)
        assert (found.state, found.reason) == ("in_review", background.LATE)
        assert submissions.get(session, fresh.id).state == "pending"
        assert submissions.get(session, done.id).state == "approved"
        review = reviews.open_about(session, kind="submission", subject_id=late.id)
        assert review is not None
        assert (review.reasons, review.escalations) == ([background.LATE], 0)


def overslept(session: Session, *, trust: str = "C") -> tuple[Submission, UUID]:
    """A submission that went to a human because nobody inspected it; now its file is inspected."""
    one = scenes.handed_in(session, scenes.claimed(session, scenes.published(session)), trust=trust)
    verdicts.ask_human(session, one.id, reason=background.LATE, now=NOW)
    arrived(session, one)
    return one, inspected(session, one)


def test_checks_that_come_late_decide_all_the_same(database: str) -> None:
    with db.transaction() as session:
        one, event_id = overslept(session)
    background.assess(event_id)
    background.assess(event_id)
    with db.transaction() as session:
        assert submissions.get(session, one.id).state == "approved"
        assert earnings.balance(session, one.worker_id) == 40
        (review,) = session.scalars(select(Review)).all()
        assert (review.state, review.decision, review.decided_by) == ("decided", "superseded", None)
        scenes.assert_sound(session, one.job_id)


def test_checks_that_come_late_and_doubt_say_why(database: str) -> None:
    with db.transaction() as session:
        one, event_id = overslept(session, trust="D")
    background.assess(event_id)
    background.assess(event_id)
    with db.transaction() as session:
        found = submissions.get(session, one.id)
        assert found.reason is not None
        assert (found.state, found.reason["code"], found.stars) == ("in_review", "unsigned", 5)
        (review,) = session.scalars(select(Review)).all()
        assert (review.state, [reason["code"] for reason in review.reasons]) == ("open", ["unsigned"])
        assert review.due_at == later(hours=24), "the hour stays"


def test_what_a_human_has_for_a_reason_is_theirs(database: str) -> None:
    with db.transaction() as session:
        one = scenes.submission(session)
        verdicts.ask_human(session, one.id, reason={"code": "looks_alike"}, now=NOW)
        arrived(session, one)
        event_id = inspected(session, one)
    background.assess(event_id)
    with db.transaction() as session:
        assert submissions.get(session, one.id).state == "in_review"


def test_a_row_the_clock_fails_at_holds_up_no_other(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    with db.transaction() as session:
        job = scenes.published(session, now=now)
        one, two, three = (scenes.handed_in(session, scenes.claimed(session, job, now=now), now=now) for _ in range(3))
        verdicts.ask_human(session, three.id, reason={"code": "doubt"}, now=now - timedelta(days=1))
    real = verdicts.ask_human

    def fail(session: Session, id: UUID, **more: Any) -> Submission | None:
        assert id != one.id, "poisoned"
        return real(session, id, **more)

    monkeypatch.setattr(verdicts, "ask_human", fail)
    clock.shift(timedelta(minutes=16))
    background.ring_overdue()
    with db.transaction() as session:
        assert submissions.get(session, two.id).state == "in_review"
        poisoned = submissions.get(session, one.id)
        assert (poisoned.state, poisoned.due_at) == (
            "pending",
            pytest.approx(clock.now() + timedelta(minutes=1), abs=timedelta(seconds=20)),
        )
        review = reviews.open_about(session, kind="submission", subject_id=three.id)
        assert review is not None
        assert review.escalations == 1


def test_the_clock_says_what_nobody_decided(database: str) -> None:
    now = clock.now()
    with db.transaction() as session:
        one = scenes.handed_in(session, scenes.claimed(session, scenes.published(session, now=now), now=now), now=now)
        verdicts.ask_human(session, one.id, reason={"code": "doubt"}, now=now)
    clock.shift(timedelta(hours=24, seconds=1))
    background.ring_overdue()
    background.ring_overdue()
    with db.transaction() as session:
        (review,) = session.scalars(select(Review)).all()
        assert (review.state, review.escalations) == ("open", 1)
        found = submissions.get(session, one.id)
        assert found.state == "in_review"
        assert found.due_at is not None
        assert found.due_at > clock.now()
        told = session.scalars(
            select(Event.type).where(Event.subject == ids.show("rev", review.id)).order_by(Event.id)
        ).all()
        assert told == ["review.opened", "review.overdue"]
