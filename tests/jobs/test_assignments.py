"""Claims: for whom, how many, until when; and back."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra import clock, db, ids
from infra.errors import Refusal
from infra.outbox import Event
from infra.states import IllegalMove
from ingest import uploads
from jobs import assignments, background, jobs
from jobs.assignments import JobLimitReached, NoSuchAssignment, NotClaimed, NotOpen, TooManyClaims
from jobs.jobs import NoSuchJob
from jobs.models import Assignment
from jobs.positions import Position
from jobs.tasks import NoSlotLeft
from tests.jobs import scenes
from tests.jobs.scenes import AUSTIN, NOW, later
from tiering import standing, workers
from tiering.eligibility import NotEligible

DOWNTOWN = {"latitude": 30.2672, "longitude": -97.7431, "radius_km": 5.0}
DALLAS = Position(32.7767, -96.7970, accuracy_m=10.0)


def test_a_claim_is_one_slot_until_the_time_limit(session: Session) -> None:
    ana = scenes.worker(session)
    job = scenes.published(session, task_time_limit_minutes=45)
    assignment = scenes.claimed(session, job, ana, now=later(minutes=1))
    assert (assignment.state, assignment.slot, assignment.due_at) == ("claimed", 1, later(minutes=46))
    assert assignments.seconds_left(assignment, later(minutes=1)) == 45 * 60
    assert assignments.seconds_left(assignment, later(minutes=45, seconds=59.5)) == 0
    assert assignments.seconds_left(assignment, later(hours=2)) == 0
    assert claims_of(session, ana.id) == 11


@pytest.mark.parametrize(
    ("worker", "changes", "where", "seconds", "codes"),
    [
        ({"tier": "silver"}, {}, {}, 59, ["window-not-open"]),
        ({"tier": "new"}, {}, {}, 299, ["window-not-open"]),
        ({"tier": "silver"}, {"price_per_file_cents": 1_000}, {}, 600, ["tier-too-low"]),
        ({}, {"location": DOWNTOWN, "audience": {"diamond_only": True}}, {}, 0, ["tier-too-low"]),
        ({}, {"location": DOWNTOWN}, {"position": DALLAS}, 0, ["outside-place"]),
        ({}, {"tech_constraints": {"platforms": ["android"]}}, {}, 0, ["outside-audience"]),
        ({}, {"tech_constraints": {"platforms": ["ios"]}}, {"platform": None}, 0, ["outside-audience"]),
        ({}, {"test": True, "test_emails": ["ben@example.org"]}, {}, 0, ["outside-audience"]),
        ({"email": "Boss@acme.example"}, {}, {}, 0, ["own-organization"]),
        ({"tier": "new"}, {"location": DOWNTOWN}, {"position": DALLAS}, 0, ["outside-place", "window-not-open"]),
    ],
)
def test_who_may_not_claim_is_told_why(
    session: Session,
    worker: dict[str, Any],
    changes: dict[str, Any],
    where: dict[str, Any],
    seconds: int,
    codes: list[str],
) -> None:
    ana, organization = scenes.worker(session, **worker), scenes.buyer(session, members=("boss@acme.example",))
    job = scenes.published(session, organization.id, **changes)
    with pytest.raises(NotEligible) as refused:
        scenes.claimed(session, job, ana, now=later(seconds=seconds), **where)
    assert [reason["code"] for reason in refused.value.members["reasons"]] == codes
    assert scenes.task_of(session, job.id).assigned == 0


@pytest.mark.parametrize(
    ("worker", "changes", "where", "seconds"),
    [
        ({"tier": "silver"}, {}, {}, 60),
        ({"tier": "new"}, {}, {}, 300),
        ({"tier": "gold"}, {"price_per_file_cents": 1_000}, {}, 0),
        ({"tier": "diamond"}, {"location": DOWNTOWN, "audience": {"diamond_only": True}}, {}, 0),
        ({}, {"tech_constraints": {"platforms": ["android", "ios"]}}, {}, 0),
        ({"email": "Ana@example.org"}, {"test": True, "test_emails": ["aNa@example.org"]}, {}, 0),
    ],
)
def test_who_may_claim_does(
    session: Session, worker: dict[str, Any], changes: dict[str, Any], where: dict[str, Any], seconds: int
) -> None:
    job = scenes.published(session, **changes)
    assert scenes.claimed(session, job, scenes.worker(session, **worker), now=later(seconds=seconds), **where).slot == 1


def test_the_banned_claim_nothing(session: Session) -> None:
    ana, job = scenes.worker(session), scenes.published(session)
    standing.ban(session, worker_id=ana.id, reason="Three strikes.", now=NOW)
    with pytest.raises(NotEligible) as refused:
        scenes.claimed(session, job, ana)
    assert refused.value.members["reasons"][0]["code"] == "account-banned"


@pytest.mark.parametrize("state", ["draft", "scheduled", "paused", "filled", "closing", "cancelled", "expired"])
def test_only_an_open_job_takes_claims(session: Session, state: str) -> None:
    job = scenes.published(session, files_needed=1, starts_at=later(hours=1) if state == "scheduled" else None)
    if state == "draft":
        job = jobs.create(session, organization_id=job.organization_id, draft=scenes.draft(), now=NOW)
    elif state == "filled":
        scenes.claimed(session, job)
    elif state == "closing":
        scenes.claimed(session, job)
        jobs.close(session, job.id, now=NOW)
    elif state == "paused":
        jobs.pause(session, job.id)
    elif state == "cancelled":
        jobs.cancel(session, job.id, now=NOW)
    elif state == "expired":
        jobs.ring(session, job.id, now=later(days=8))
    with pytest.raises(NotOpen) as refused:
        scenes.claimed(session, job)
    assert refused.value.members["state"] == state


def test_there_is_no_claim_without_a_job(session: Session) -> None:
    with pytest.raises(NoSuchJob):
        assignments.claim(
            session, job_id=ids.new(), worker_id=scenes.worker(session).id, platform=None, position=AUSTIN, now=NOW
        )


def test_a_worker_holds_five_claims_at_most(session: Session) -> None:
    ana = scenes.worker(session)
    held = [scenes.claimed(session, scenes.published(session), ana) for _ in range(5)]
    job = scenes.published(session)
    with pytest.raises(TooManyClaims) as refused:
        scenes.claimed(session, job, ana)
    assert refused.value.members["limit"] == 5
    scenes.handed_in(session, held[0])
    scenes.claimed(session, job, ana)


def test_the_limits_of_a_job_hold(session: Session) -> None:
    ana, ben, eve = (scenes.worker(session) for _ in range(3))
    job = scenes.published(session, max_workers=2, max_submissions_per_worker=1)
    first = scenes.claimed(session, job, ana)
    with pytest.raises(JobLimitReached) as refused:
        scenes.claimed(session, job, ana)
    assert refused.value.members["limit"] == 1
    scenes.claimed(session, job, ben)
    with pytest.raises(JobLimitReached) as refused:
        scenes.claimed(session, job, eve)
    assert refused.value.members["limit"] == 2
    assignments.hand_back(session, first.id, worker_id=ana.id, now=NOW)
    scenes.claimed(session, job, eve)


def test_one_worker_racing_with_themselves_gets_five_and_three_as_a_newcomer(database: str) -> None:
    with db.transaction() as session:
        ana = scenes.worker(session, assignments=0)
        all_jobs = [scenes.published(session) for _ in range(10)]
    start = Barrier(len(all_jobs))

    def race(job: Any) -> bool:
        start.wait()
        try:
            with db.transaction() as session:
                scenes.claimed(session, job, ana)
        except TooManyClaims:
            return False
        return True

    with ThreadPoolExecutor(len(all_jobs)) as pool:
        assert sorted(pool.map(race, all_jobs)) == [False] * 5 + [True] * 5
    with db.transaction() as session:
        assert claims_of(session, ana.id) == 5
        mine = select(Assignment.newcomer).where(Assignment.worker_id == ana.id)
        assert sorted(session.scalars(mine)) == [False, False, True, True, True]


def test_racers_cannot_pass_the_limits_of_a_job(database: str) -> None:
    with db.transaction() as session:
        everybody = [scenes.worker(session) for _ in range(6)]
        job = scenes.published(session, max_workers=2, max_submissions_per_worker=2)
    start = Barrier(12)

    def race(number: int) -> Any:
        start.wait()
        try:
            with db.transaction() as session:
                return scenes.claimed(session, job, everybody[number % 6]).worker_id
        except (JobLimitReached, NoSlotLeft):
            return None

    with ThreadPoolExecutor(12) as pool:
        got = [worker for worker in pool.map(race, range(12)) if worker]
    assert len(set(got)) == 2
    assert max(got.count(worker) for worker in got) <= 2
    with db.transaction() as session:
        scenes.assert_sound(session, job.id)


def test_the_database_refuses_a_slot_held_twice(session: Session) -> None:
    job = scenes.published(session)
    first = scenes.claimed(session, job)
    second = scenes.claimed(session, job)
    second.slot = first.slot
    with pytest.raises(IntegrityError, match="uq_assignments_slot_held"):
        session.flush()


# -- back ------------------------------------------------------------------------------------------------------------


def test_handing_back_frees_the_slot_and_says_so(session: Session) -> None:
    ana, job = scenes.worker(session), scenes.published(session, files_needed=1)
    assignment = scenes.claimed(session, job, ana)
    assert jobs.get(session, job.id).state == "filled"
    assignments.hand_back(session, assignment.id, worker_id=ana.id, now=NOW)
    assert jobs.get(session, job.id).state == "open"
    assert told(session, assignment) == ["assignment.handed_back"]
    with pytest.raises(IllegalMove):
        assignments.hand_back(session, assignment.id, worker_id=ana.id, now=NOW)
    scenes.assert_sound(session, job.id)


def test_files_begun_for_a_slot_handed_back_are_given_up_soon(session: Session) -> None:
    ana = scenes.worker(session)
    assignment = scenes.claimed(session, scenes.published(session), ana)
    upload, _ = uploads.begin(
        session,
        worker_id=ana.id,
        assignment_id=assignment.id,
        claim_ends=later(hours=2),
        declared=uploads.Declaration(size=1, media_type="image/jpeg", sha256=bytes(32)),
        accepted=["image/jpeg"],
        now=NOW,
    )
    assignments.hand_back(session, assignment.id, worker_id=ana.id, now=NOW)
    session.refresh(upload)
    assert upload.due_at == later(hours=1)


def test_a_slot_handed_back_costs_no_newcomer_their_start(session: Session) -> None:
    ana, job = scenes.worker(session, assignments=2), scenes.published(session, files_needed=10)
    assignment = scenes.claimed(session, job, ana)
    assert assignment.newcomer
    assert claims_of(session, ana.id) == 3
    assignments.hand_back(session, assignment.id, worker_id=ana.id, now=NOW)
    assert claims_of(session, ana.id) == 2
    assert scenes.claimed(session, job, ana).newcomer


@pytest.mark.parametrize("state", ["submitted", "expired"])
def test_only_a_claim_can_be_handed_back(session: Session, state: str) -> None:
    ana = scenes.worker(session)
    assignment = scenes.claimed(session, scenes.published(session), ana)
    if state == "submitted":
        scenes.handed_in(session, assignment)
    else:
        assignments.ring(session, assignment.id, now=later(minutes=30))
    with pytest.raises(NotClaimed) as refused:
        assignments.require_claimed(assignment)
    assert refused.value.members["state"] == state
    with pytest.raises(IllegalMove):
        assignments.hand_back(session, assignment.id, worker_id=ana.id, now=NOW)
    assert claims_of(session, ana.id) == 11


def test_an_assignment_is_its_workers_alone(session: Session) -> None:
    ana, ben = scenes.worker(session), scenes.worker(session)
    assignment = scenes.claimed(session, scenes.published(session), ana)
    assert assignments.of_worker(session, assignment.id, ana.id) is assignment
    for id, who in ((assignment.id, ben.id), (ids.new(), ana.id)):
        with pytest.raises(NoSuchAssignment):
            assignments.hand_back(session, id, worker_id=who, now=NOW)
    assert assignment.state == "claimed"


# -- the clock -------------------------------------------------------------------------------------------------------


def test_a_claim_runs_out_at_its_deadline_not_before(session: Session) -> None:
    job = scenes.published(session, files_needed=1)
    assignment = scenes.claimed(session, job)
    assignments.ring(session, assignment.id, now=later(minutes=30) - timedelta(microseconds=1))
    assert assignment.state == "claimed"
    assignments.ring(session, assignment.id, now=later(minutes=30))
    assignments.ring(session, assignment.id, now=later(minutes=31))
    assert (assignment.state, assignment.due_at) == ("expired", None)
    assert jobs.get(session, job.id).state == "open"
    assert told(session, assignment) == ["assignment.expired"]
    scenes.assert_sound(session, job.id)


def test_an_assignment_whose_verdict_takes_long_keeps_its_slot(session: Session) -> None:
    job = scenes.published(session)
    assignment = scenes.claimed(session, job)
    scenes.handed_in(session, assignment)
    assignments.ring(session, assignment.id, now=later(minutes=15))
    session.flush()
    assert (assignment.state, assignment.due_at) == ("submitted", later(minutes=15, hours=24))
    assignments.ring(session, ids.new(), now=NOW)  # nothing there: nothing happens


def test_the_clock_takes_back_what_ran_out(database: str) -> None:
    now = clock.now()
    with db.transaction() as session:
        job = scenes.published(session, now=now, task_time_limit_minutes=10)
        late = [scenes.claimed(session, job, now=now) for _ in range(3)]
        in_time = scenes.claimed(session, job, now=now + timedelta(minutes=5))
    clock.shift(timedelta(minutes=11))
    background.expire_assignments()
    background.expire_assignments()
    with db.transaction() as session:
        assert [session.get_one(Assignment, one.id).state for one in late] == ["expired"] * 3
        assert session.get_one(Assignment, in_time.id).state == "claimed"
        scenes.assert_sound(session, job.id)


def test_hand_in_and_time_out_at_once_end_one_way(database: str) -> None:
    with db.transaction() as session:
        job = scenes.published(session)
        assignment = scenes.claimed(session, job)
    refusal: Refusal | Exception | None = scenes.overtaken(
        lambda session: assignments.ring(session, assignment.id, now=later(minutes=30)),
        lambda session: scenes.handed_in(session, assignment),
    )
    assert isinstance(refusal, IllegalMove)
    with db.transaction() as session:
        scenes.assert_sound(session, job.id)


def claims_of(session: Session, worker_id: UUID) -> int:
    session.expire_all()
    return workers.get(session, worker_id).assignments_count


def told(session: Session, assignment: Assignment) -> list[str]:
    of_it = select(Event.type).where(Event.subject == ids.show("asg", assignment.id)).order_by(Event.id)
    return list(session.scalars(of_it))


def test_limits_count_what_holds_a_slot(session: Session, configure: Callable[..., None]) -> None:
    """A rejected or lost claim does not count against the job's limit for one worker."""
    ana, job = scenes.worker(session), scenes.published(session, max_submissions_per_worker=1)
    assignments.ring(session, scenes.claimed(session, job, ana).id, now=later(minutes=30))
    assert scenes.claimed(session, job, ana).slot == 1


def test_a_claim_is_only_given_when_it_can_be_handed_in_today(session: Session, configure: Callable[..., None]) -> None:
    configure(daily_cap_from_silver=2)
    ana, job = scenes.worker(session, email="ana@example.org"), scenes.published(session)
    dry = scenes.published(session, test=True, test_emails=["ana@example.org"])
    scenes.claimed(session, dry, ana)  # takes no place of the day
    first, second = scenes.claimed(session, job, ana), scenes.claimed(session, job, ana)
    for one in (first, second):
        with pytest.raises(NotEligible) as refused:
            scenes.claimed(session, job, ana)
        assert [reason["code"] for reason in refused.value.members["reasons"]] == ["daily-cap-reached"]
        scenes.handed_in(session, one)
    with pytest.raises(NotEligible):
        scenes.claimed(session, job, ana)
    assert scenes.claimed(session, job, ana, now=later(days=1))


def test_a_claim_handed_back_gives_its_place_of_the_day_back(session: Session, configure: Callable[..., None]) -> None:
    configure(daily_cap_from_silver=1)
    ana, job = scenes.worker(session), scenes.published(session)
    assignments.hand_back(session, scenes.claimed(session, job, ana).id, worker_id=ana.id, now=NOW)
    scenes.handed_in(session, scenes.claimed(session, job, ana))


def test_a_job_that_is_over_takes_no_claims_though_the_clock_was_not_round(session: Session) -> None:
    job = scenes.published(session, posting_time_limit_minutes=5)
    assert scenes.claimed(session, job, now=later(minutes=5, microseconds=-1))
    with pytest.raises(NotOpen, match="over"):
        scenes.claimed(session, job, now=later(minutes=5))
    assert scenes.task_of(session, job.id).assigned == 1


def test_racers_who_read_the_worker_before_are_counted_as_they_are(database: str) -> None:
    """Whoever signs in has read the worker by the time the claim gets its turn."""
    with db.transaction() as session:
        ana = scenes.worker(session, assignments=2)
        all_jobs = [scenes.published(session) for _ in range(4)]
    start = Barrier(len(all_jobs))

    def race(job: Any) -> bool:
        with db.transaction() as session:
            me = workers.get(session, ana.id)
            start.wait()
            return scenes.claimed(session, job, me).newcomer

    with ThreadPoolExecutor(len(all_jobs)) as pool:
        assert sorted(pool.map(race, all_jobs)) == [False, False, False, True]


@pytest.mark.parametrize(
    ("changes", "free"),
    [
        ({"price_per_file_cents": 999}, 9),
        ({"price_per_file_cents": 1_000}, 10),
        ({"audience": {"diamond_only": True}, "location": DOWNTOWN}, 10),
    ],
)
def test_a_job_newcomers_may_never_take_holds_no_slot_for_them(
    session: Session, changes: dict[str, Any], free: int
) -> None:
    job = scenes.published(session, files_needed=10, **changes)
    for _ in range(free):
        scenes.claimed(session, job, scenes.worker(session, "diamond"))
    assert (jobs.get(session, job.id).state == "filled") == (free == 10)
    if free < 10:
        with pytest.raises(NoSlotLeft):
            scenes.claimed(session, job, scenes.worker(session, "diamond"))
