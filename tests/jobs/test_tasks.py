"""Slots: the lowest free one, once, with the newcomers' share held back; and nobody waits in a ring."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier
from time import monotonic
from uuid import UUID

import psycopg.errors
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from infra import db
from infra.errors import Refusal
from jobs import assignments, jobs, tasks
from jobs.models import Assignment, Job, Submission
from jobs.tasks import NoSlotLeft
from quality import verdicts
from tests.jobs import scenes
from tests.jobs.scenes import AUSTIN, BAD, BROKEN, GOOD, NOW, later

HELD_UNTIL = later(minutes=30)


def take(session: Session, job: Job, *, newcomer: bool = False, minutes: float = 0) -> int | None:
    """The slot, None if there is none for this worker."""
    try:
        return tasks.take(session, job, newcomer=newcomer, now=later(minutes=minutes))[1]
    except NoSlotLeft:
        return None


def test_slots_are_given_out_from_the_lowest(session: Session) -> None:
    job = scenes.published(session, files_needed=3)
    assert [take(session, job) for _ in range(4)] == [1, 2, 3, None]


def test_a_slot_that_comes_back_is_the_next_to_go(session: Session) -> None:
    job = scenes.published(session, files_needed=5)
    assert [take(session, job) for _ in range(5)] == [1, 2, 3, 4, 5]
    task = scenes.task_of(session, job.id)
    for slot in (4, 2):
        tasks.free_assigned(session, task.id, slot, newcomer=False)
    assert [take(session, job) for _ in range(3)] == [2, 4, None]


@hypothesis_settings(max_examples=20)
@given(st.integers(1, 30), st.lists(st.integers(0, 30), max_size=60))
def test_the_free_slots_are_what_nobody_holds(database: str, target: int, steps: list[int]) -> None:
    """0 takes a slot, any other number frees the slot it stands for if somebody holds it."""
    held = set[int]()
    with db.transaction() as session:
        job = scenes.published(session, files_needed=target)
        task = scenes.task_of(session, job.id)
        for step in steps:
            if step in held:
                tasks.free_assigned(session, task.id, step, newcomer=False)
                held.remove(step)
            elif step == 0 and len(held) < target:
                expected = min(set(range(1, target + 1)) - held)
                assert take(session, job, newcomer=True) == expected
                held.add(expected)
        task = scenes.task_of(session, job.id)
        assert scenes.free_slots(task) == set(range(1, target + 1)) - held
        assert task.assigned == len(held)


def test_a_job_that_takes_no_claims_has_no_slot(session: Session) -> None:
    job = scenes.published(session)
    jobs.pause(session, job.id)
    assert take(session, job) is None
    jobs.resume(session, job.id, now=NOW)
    assert take(session, job) == 1


@pytest.mark.parametrize(("target", "held"), [(9, 0), (10, 1), (19, 1), (20, 2), (50, 5)])
def test_a_tenth_is_held_for_newcomers_for_half_an_hour(session: Session, target: int, held: int) -> None:
    job = scenes.published(session, files_needed=target)
    got = [take(session, job, minutes=29.9) for _ in range(target)]
    assert got == [*range(1, target - held + 1)] + [None] * held
    assert [take(session, job, newcomer=True, minutes=29.9) for _ in range(held)] == [
        *range(target - held + 1, target + 1)
    ]
    assert take(session, job, newcomer=True) is None


def test_what_newcomers_took_is_not_held_twice(session: Session) -> None:
    job = scenes.published(session, files_needed=10)
    assert take(session, job, newcomer=True) == 1
    assert [take(session, job) for _ in range(10)] == [*range(2, 11), None]


def test_a_newcomers_slot_that_comes_back_is_held_again(session: Session) -> None:
    job = scenes.published(session, files_needed=10)
    task, slot = tasks.take(session, job, newcomer=True, now=NOW)
    tasks.free_assigned(session, task.id, slot, newcomer=True)
    assert [take(session, job) for _ in range(10)].count(None) == 1
    assert take(session, job, newcomer=True) == 10


def test_after_half_an_hour_the_held_slots_are_for_all(session: Session) -> None:
    job = scenes.published(session, files_needed=10)
    assert [take(session, job, minutes=30) for _ in range(11)] == [*range(1, 11), None]
    assert not tasks.held_for_newcomers(job, HELD_UNTIL)
    assert tasks.held_for_newcomers(job, later(minutes=29.99))


def test_racers_get_every_slot_once_and_the_newcomers_theirs(database: str) -> None:
    racers, target = 30, 20
    with db.transaction() as session:
        job = scenes.published(session, files_needed=target)
    start = Barrier(racers)

    def race(number: int) -> tuple[bool, int | None]:
        newcomer = number % 10 == 0  # three of them
        start.wait()
        with db.transaction() as session:
            return newcomer, take(session, job, newcomer=newcomer)

    with ThreadPoolExecutor(racers) as pool:
        got = list(pool.map(race, range(racers)))
    slots = [slot for _, slot in got if slot]
    # Of three newcomers one may come too late for an open slot, but the two held ones are theirs in any case.
    assert len([slot for newcomer, slot in got if newcomer and slot]) >= 2
    assert len(slots) == len(set(slots))
    left = target - len(slots)
    with db.transaction() as session:
        task = scenes.task_of(session, job.id)
        assert scenes.free_slots(task) == set(range(1, target + 1)) - set(slots)
        assert left == max(0, task.newcomer_quota - task.newcomer_taken)


STEPS: dict[str, Callable[[Session, Job, Assignment, Submission], object]] = {
    "claim": lambda session, job, claim, one: scenes.claimed(session, job),
    "hand back": lambda session, job, claim, one: assignments.hand_back(
        session, claim.id, worker_id=claim.worker_id, now=NOW
    ),
    "run out": lambda session, job, claim, one: assignments.ring(session, claim.id, now=later(hours=1)),
    "hand in": lambda session, job, claim, one: scenes.handed_in(session, claim),
    "approve": lambda session, job, claim, one: verdicts.approve(session, one.id, GOOD, now=NOW),
    "reject": lambda session, job, claim, one: verdicts.reject(session, one.id, BROKEN, scored=False, now=NOW),
    "retry": lambda session, job, claim, one: verdicts.reject(session, one.id, BAD, scored=True, retry=True, now=NOW),
    "pause": lambda session, job, claim, one: jobs.pause(session, job.id),
    "close": lambda session, job, claim, one: jobs.close(session, job.id, now=NOW),
    "cancel": lambda session, job, claim, one: jobs.cancel(session, job.id, now=NOW),
    "expire": lambda session, job, claim, one: jobs.ring(session, job.id, now=later(days=8)),
}


@pytest.mark.parametrize("step", STEPS)
def test_everybody_takes_the_tasks_row_before_the_jobs(database: str, step: str) -> None:
    """While one holds the task, whoever waits for it must not hold the job: the first will want that next."""
    with db.transaction() as session:
        job = scenes.published(session, files_needed=3)
        claim, one = scenes.claimed(session, job), scenes.submission(session, job)
    free = list[UUID]()
    the_job = select(Job.id).where(Job.id == job.id).with_for_update(nowait=True)
    scenes.overtaken(
        lambda session: tasks.of_job(session, job.id, lock=True),
        lambda session: STEPS[step](session, job, claim, one),
        meanwhile=lambda session: free.extend(session.scalars(the_job)),
    )
    assert free == [job.id], "it does not wait for the task"
    with db.transaction() as session:
        scenes.assert_sound(session, job.id)


@pytest.mark.parametrize("step", ["resume", "publish", "start"])
def test_the_other_switches_too(database: str, step: str) -> None:
    with db.transaction() as session:
        starts_at = later(hours=1) if step == "start" else None
        job = scenes.published(session, starts_at=starts_at)
        if step == "resume":
            jobs.pause(session, job.id)
        elif step == "publish":
            job = jobs.create(session, organization_id=job.organization_id, draft=scenes.draft(), now=NOW)
    act: dict[str, Callable[[Session], object]] = {
        "resume": lambda session: jobs.resume(session, job.id, now=NOW),
        "publish": lambda session: jobs.publish(session, job.id, now=NOW),
        "start": lambda session: jobs.start(session, job.id, now=later(hours=1)),
    }
    free = list[UUID]()
    the_job = select(Job.id).where(Job.id == job.id).with_for_update(nowait=True)
    scenes.overtaken(
        lambda session: tasks.of_job(session, job.id, lock=True),
        act[step],
        meanwhile=lambda session: free.extend(session.scalars(the_job)),
    )
    assert free == [job.id]


def test_whatever_races_on_one_job_nobody_waits_in_a_ring(database: str) -> None:
    """Claims, hand-backs, time-outs, verdicts and the buyer's switches at once for a few seconds."""
    with db.transaction() as session:
        organization = scenes.buyer(session)
        running = [scenes.published(session, organization.id, files_needed=12).id for _ in range(2)]
        workers = [scenes.worker(session, assignments=1000).id for _ in range(6)]
    done = Counter[str]()
    end = monotonic() + 4

    def cancel(session: Session, chance: random.Random, job_id: UUID, worker_id: UUID) -> None:
        """A cancelled job makes room for another."""
        if chance.random() < 0.1:
            jobs.cancel(session, job_id, now=NOW)
            fresh = scenes.published(session, organization.id, files_needed=12).id
            db.after_commit(session, lambda: running.append(fresh))
            db.after_commit(session, lambda: running.remove(job_id))

    acts = [*ACTS, cancel]

    def live(seed: int) -> None:
        chance = random.Random(seed)
        while monotonic() < end:
            act = chance.choice(acts)
            try:
                with suppress(Refusal), db.transaction() as session:
                    act(session, chance, chance.choice(running), chance.choice(workers))
                    done[act.__name__] += 1
            except OperationalError as error:
                if isinstance(error.orig, psycopg.errors.DeadlockDetected):
                    done["deadlock"] += 1
                else:
                    raise

    with ThreadPoolExecutor(8) as pool:
        for finished in [pool.submit(live, seed) for seed in range(8)]:
            finished.result()
    assert done["deadlock"] == 0, done
    assert min(done[act.__name__] for act in acts) > 0, done
    with db.transaction() as session:
        every = session.scalars(select(Job.id)).all()
        assert len(every) > len(running), "no job was cancelled"
        for job_id in every:
            scenes.assert_sound(session, job_id)
        scenes.assert_books_right(session)


def claim(session: Session, chance: random.Random, job_id: UUID, worker_id: UUID) -> None:
    assignments.claim(session, job_id=job_id, worker_id=worker_id, platform=None, position=AUSTIN, now=NOW)


def hand_back(session: Session, chance: random.Random, job_id: UUID, worker_id: UUID) -> None:
    assignment = _any(session, chance, job_id, "claimed")
    if assignment:
        assignments.hand_back(session, assignment.id, worker_id=assignment.worker_id, now=NOW)


def run_out(session: Session, chance: random.Random, job_id: UUID, worker_id: UUID) -> None:
    assignment = _any(session, chance, job_id, "claimed")
    if assignment:
        assignments.ring(session, assignment.id, now=later(hours=1))


def hand_in(session: Session, chance: random.Random, job_id: UUID, worker_id: UUID) -> None:
    assignment = _any(session, chance, job_id, "claimed")
    if assignment:
        scenes.handed_in(session, assignment)


def judge(session: Session, chance: random.Random, job_id: UUID, worker_id: UUID) -> None:
    undecided = select(Submission.id).where(Submission.job_id == job_id, Submission.state.in_(["pending", "in_review"]))
    found = session.scalars(undecided).all()
    if not found:
        return
    id = chance.choice(found)
    kind = chance.randrange(8)
    if kind == 0:
        verdicts.approve(session, id, GOOD, now=NOW)
    elif kind == 1:
        verdicts.ask_human(session, id, reason={"code": "doubt"}, now=NOW)
    elif kind == 2:
        verdicts.reject(session, id, BAD, scored=True, retry=True, now=NOW)
    else:
        verdicts.reject(session, id, BROKEN, scored=False, now=NOW)


def pause_or_resume(session: Session, chance: random.Random, job_id: UUID, worker_id: UUID) -> None:
    if jobs.get(session, job_id).state == "paused":
        jobs.resume(session, job_id, now=NOW)
    elif chance.random() < 0.3:
        jobs.pause(session, job_id)


def look_after(session: Session, chance: random.Random, job_id: UUID, worker_id: UUID) -> None:
    jobs.ring(session, job_id, now=NOW)


ACTS: list[Callable[[Session, random.Random, UUID, UUID], None]] = [
    claim,
    claim,
    hand_back,
    run_out,
    hand_in,
    hand_in,
    judge,
    judge,
    pause_or_resume,
    look_after,
]


def _any(session: Session, chance: random.Random, job_id: UUID, state: str) -> Assignment | None:
    found = session.scalars(select(Assignment).where(Assignment.job_id == job_id, Assignment.state == state)).all()
    return chance.choice(found) if found else None
