"""
Jobs from draft to the end. First random histories of one job, told to the database and to a few Python objects at once;
then what each step says and refuses.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from infra import clock, db, ids
from infra.errors import Conflict, Refusal
from infra.outbox import Event
from infra.states import IllegalMove
from jobs import assignments, background, jobs
from jobs.assignments import JobLimitReached, NotOpen, TooManyClaims
from jobs.geo import BadPlace
from jobs.jobs import BadDraft, NoSuchJob
from jobs.lifecycle import ENDED, JOB
from jobs.models import Assignment, Job
from jobs.tasks import NoSlotLeft
from payouts import earnings, escrow, wallets
from payouts.accounts import FEE
from payouts.escrow import WalletTooShort
from payouts.ledger import balance
from payouts.models import Account
from quality import verdicts
from tests.jobs import scenes
from tests.jobs.scenes import AUSTIN, BAD, BROKEN, GOOD, NOW, later

WALLET = 100_000
PRICE = 99  # 80 % of it is not a whole cent
MINUTES = 30
RUNNING = ("open", "filled", "paused")


@dataclass
class Slot:
    """A claim as the test believes it to be."""

    assignment: UUID
    worker: UUID
    newcomer: bool
    due_at: datetime
    state: str = "claimed"
    submission: UUID | None = None


class Histories(RuleBasedStateMachine):
    """One job; its workers claim, hand in and back; its buyer and the clock interfere. Every rule is tried in every state."""

    @initialize(
        slots=st.sampled_from([1, 2, 3, 10, 12]), newcomers=st.integers(0, 2), most=st.none() | st.integers(1, 4)
    )
    def publish(self, slots: int, newcomers: int, most: int | None) -> None:
        self.now = NOW
        with db.transaction() as session:
            self.organization = scenes.buyer(session, WALLET).id
            job = scenes.published(
                session,
                self.organization,
                files_needed=slots,
                price_per_file_cents=PRICE,
                task_time_limit_minutes=MINUTES,
                posting_time_limit_minutes=1_000,
                max_submissions_per_worker=most,
            )
            self.workers = [scenes.worker(session).id for _ in range(3)]
            fresh = [scenes.worker(session, "gold", assignments=0).id for _ in range(newcomers)]
            self.fee = balance(session, FEE)
        self.had = dict.fromkeys(self.workers, 10) | dict.fromkeys(fresh, 0)
        self.workers += fresh
        self.job, self.target, self.most = job.id, slots, most
        self.state, self.ends_at = "open", NOW + timedelta(minutes=1_000)
        self.free, self.slots = set(range(1, slots + 1)), dict[int, Slot]()
        self.approved = 0
        self.quota, self.taken_by_newcomers = (1 if slots >= 10 else 0), 0
        self.paid = dict.fromkeys(self.workers, 0)

    @property
    def lived_long(self) -> bool:
        """Or most histories would end before anything happened."""
        return sum(self.had.values()) >= 33

    # -- workers -----------------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        newcomer = self.had[worker] < 3
        expected = self._refusal_of_claim(worker, newcomer)
        with suppress(*[expected] if expected else []), db.transaction() as session:  # any other refusal fails the test
            assignment = assignments.claim(
                session, job_id=self.job, worker_id=worker, platform="ios", position=AUSTIN, now=self.now
            )
            assert expected is None
        if expected:
            return
        assert assignment.slot == min(self.free)
        assert assignment.due_at == self.now + timedelta(minutes=MINUTES)
        self.free.remove(assignment.slot)
        self.slots[assignment.slot] = Slot(assignment.id, worker, newcomer, assignment.due_at)
        self.had[worker] += 1
        self.taken_by_newcomers += newcomer
        self._follow()

    def _refusal_of_claim(self, worker: UUID, newcomer: bool) -> type[Refusal] | None:
        """In the order in which `claim` looks."""
        mine = [slot.state for slot in self.slots.values() if slot.worker == worker]
        held = max(0, self.quota - self.taken_by_newcomers) if self.now < later(minutes=30) and not newcomer else 0
        if self.state != "open":
            return NotOpen
        if mine.count("claimed") >= 5:
            return TooManyClaims
        if len(self.free) <= held:
            return NoSlotLeft
        return JobLimitReached if self.most is not None and len(mine) >= self.most else None

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def hand_back(self, data: st.DataObject) -> None:
        number, slot = self._some(data)

        def act(session: Session) -> None:
            assignments.hand_back(session, slot.assignment, worker_id=slot.worker, now=self.now)

        if self._done(slot, "claimed", act):
            self.had[slot.worker] -= 1  # a slot given back is no job done
            self._release(number)

    @rule(data=st.data())
    def claim_too(self, data: st.DataObject) -> None:
        self.claim(data)

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def hand_in(self, data: st.DataObject) -> None:
        _, slot = self._some(data)
        if slot.due_at <= self.now:  # the API refuses it then, and the clock takes it
            return

        def act(session: Session) -> None:
            slot.submission = scenes.handed_in(session, session.get_one(Assignment, slot.assignment), now=self.now).id

        if self._done(slot, "claimed", act):
            slot.state = "submitted"

    # -- verdicts ----------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def approve(self, data: st.DataObject) -> None:
        _, slot = self._some(data)
        if slot.submission is None:
            return
        with db.transaction() as session:
            counted = verdicts.approve(session, slot.submission, GOOD, now=self.now)
        assert (counted is not None) == (slot.state in ("submitted", "in_review"))
        if counted:
            slot.state = "approved"
            self.approved += 1
            self.paid[slot.worker] += PRICE - PRICE * 20 // 100
            self._follow()

    @precondition(lambda self: self.slots)
    @rule(data=st.data(), decision=st.sampled_from([BAD, BROKEN]), retry=st.booleans())
    def reject(self, data: st.DataObject, decision: Any, retry: bool) -> None:
        number, slot = self._some(data)
        if slot.submission is None:
            return
        with db.transaction() as session:
            scored = decision.stars is not None
            counted = verdicts.reject(session, slot.submission, decision, scored=scored, retry=retry, now=self.now)
        assert (counted is not None) == (slot.state in ("submitted", "in_review"))
        if counted and retry:
            slot.state, slot.due_at = "claimed", self.now + timedelta(minutes=MINUTES)
        elif counted:
            self._release(number)

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def ask_human(self, data: st.DataObject) -> None:
        _, slot = self._some(data)
        if slot.submission is None or slot.state == "in_review":
            return
        with db.transaction() as session:
            asked = verdicts.ask_human(session, slot.submission, reason={"code": "doubt"}, now=self.now)
        assert (asked is not None) == (slot.state == "submitted")
        if asked:
            slot.state = "in_review"

    # -- the buyer ---------------------------------------------------------------------------------------------------

    @rule()
    def pause(self) -> None:
        if self._moved({"open", "filled"}, lambda session: jobs.pause(session, self.job)):
            self.state = "paused"

    @precondition(lambda self: self.state == "paused")
    @rule()
    def resume_soon(self) -> None:
        self.resume()

    @rule()
    def resume(self) -> None:
        if self._moved({"paused"}, lambda session: jobs.resume(session, self.job, now=self.now)):
            self.state = "open"
            self._follow()

    @precondition(lambda self: self.lived_long)
    @rule()
    def close(self) -> None:
        if self._moved(set(RUNNING), lambda session: jobs.close(session, self.job, now=self.now)):
            self.state = "closing"
            self._follow()

    @precondition(lambda self: self.lived_long)
    @rule()
    def cancel(self) -> None:
        if self._moved(set(RUNNING), lambda session: jobs.cancel(session, self.job, now=self.now)):
            self.state = "cancelled"

    # -- the clock ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.lived_long)
    @rule()
    def the_end(self) -> None:
        self.time_passes(1_000)

    @rule(minutes=st.sampled_from([1, 29, 31]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        for number, slot in list(self.slots.items()):
            with db.transaction() as session:
                assignments.ring(session, slot.assignment, now=self.now)
            if slot.state == "claimed" and slot.due_at <= self.now:
                self._release(number)
        with db.transaction() as session:
            jobs.ring(session, self.job, now=self.now)
        if self.state in RUNNING and self.ends_at <= self.now:
            self.state = "expired"

    # -- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def model_and_database_agree(self) -> None:
        with db.transaction() as session:
            scenes.assert_sound(session, self.job)
            job, task = jobs.get(session, self.job), scenes.task_of(session, self.job)
            assert job.state == self.state
            assert scenes.free_slots(task) == self.free
            assert task.newcomer_taken == self.taken_by_newcomers
            in_work = len(self.slots) - self.approved
            needed = in_work if self.state in ENDED else self.target - self.approved
            owners = {self.job: "escrow", self.organization: "wallet"} | dict.fromkeys(self.workers, "earnings")
            kept = select(Account.owner_id, Account.balance_cents).where(Account.owner_id.in_(owners))
            held = dict.fromkeys(owners, 0) | {owner: cents or 0 for owner, cents in session.execute(kept) if owner}
            fees = balance(session, FEE) - self.fee
        assert held[self.job] == needed * PRICE
        assert {worker: held[worker] for worker in self.workers} == self.paid
        assert fees == self.approved * (PRICE * 20 // 100)
        assert sum(held.values()) + fees == WALLET

    def teardown(self) -> None:
        with db.transaction() as session:
            scenes.assert_books_right(session)

    # -- the model ---------------------------------------------------------------------------------------------------

    def _some(self, data: st.DataObject) -> tuple[int, Slot]:
        number = data.draw(st.sampled_from(sorted(self.slots)))
        return number, self.slots[number]

    def _done(self, slot: Slot, needed: str, act: Any) -> bool:
        """Whether it happened; it must if the assignment is in the state it needs, and else must be refused."""
        if slot.state == needed:
            with db.transaction() as session:
                act(session)
            return True
        with pytest.raises(Conflict), db.transaction() as session:
            act(session)
        return False

    def _moved(self, sources: set[str], act: Any) -> bool:
        if self.state in sources:
            with db.transaction() as session:
                act(session)
            return True
        with pytest.raises(IllegalMove) as refused, db.transaction() as session:
            act(session)
        assert refused.value.members == {"state": self.state, "allowed": sorted(JOB.moves[self.state])}
        return False

    def _release(self, number: int) -> None:
        self.taken_by_newcomers -= self.slots.pop(number).newcomer
        self.free.add(number)
        self._follow()

    def _follow(self) -> None:
        if self.approved == self.target and self.state in RUNNING:
            self.state = "closing"
        in_work = len(self.slots) - self.approved
        if self.state == "closing" and not in_work:
            self.state = "completed"
        elif self.state in ("open", "filled"):
            self.state = "open" if self.free else "filled"


def test_a_full_job_that_was_paused_tells_the_buyer_once(session: Session) -> None:
    job = scenes.published(session, files_needed=1)
    claim = scenes.claimed(session, job)
    jobs.pause(session, job.id)
    assert jobs.resume(session, job.id, now=NOW).state == "filled"
    filled = select(func.count()).select_from(Event).where(Event.type == "job.filled")
    assert session.scalar(filled) == 1
    assignments.hand_back(session, claim.id, worker_id=claim.worker_id, now=NOW)
    scenes.claimed(session, job)
    assert session.scalar(filled) == 2


def test_no_history_loses_a_slot_or_a_cent(database: str) -> None:
    run_state_machine_as_test(
        Histories,
        settings=hypothesis.settings(
            max_examples=12,
            stateful_step_count=40,
            deadline=None,
            phases=[hypothesis.Phase.generate],  # shrinking takes minutes, and forty steps can be read
        ),
    )


# -- publishing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "cents"),
    [
        ({}, 10 * 50),
        ({"files_per_submission": 5}, 10 * 50),
        ({"fee_mode": "on_top"}, 10 * 60),
        ({"fee_mode": "on_top", "price_per_file_cents": 99}, 10 * 118),
        ({"test": True, "test_emails": ["ana@example.org"]}, 0),
    ],
)
def test_publishing_sets_aside_what_all_slots_cost(session: Session, changes: dict[str, Any], cents: int) -> None:
    organization = scenes.buyer(session, 5_000)
    job = scenes.published(session, organization.id, **changes)
    assert (job.state, job.published_at) == ("open", NOW)
    assert escrow.balance(session, job.id) == cents
    assert wallets.balance(session, organization.id) == 5_000 - cents
    assert jobs.expected_escrow(session) == ({} if job.test else {job.id: cents})


def test_a_short_wallet_is_told_what_is_missing_and_the_draft_stays(database: str) -> None:
    with db.transaction() as session:
        organization = scenes.buyer(session, 499)
        job = jobs.create(session, organization_id=organization.id, draft=scenes.draft(), now=NOW)
    with pytest.raises(WalletTooShort) as refused, db.transaction() as session:
        jobs.publish(session, job.id, now=NOW)
    assert refused.value.members == {"needed_cents": 500, "available_cents": 499, "missing_cents": 1}
    with db.transaction() as session:
        assert jobs.get(session, job.id).state == "draft"
        assert not scenes.task_of(session, job.id).claimable
        assert wallets.balance(session, organization.id) == 499
        assert told(session, job.id) == []


def test_only_a_draft_can_be_published(session: Session) -> None:
    job = scenes.published(session)
    with pytest.raises(IllegalMove) as refused:
        jobs.publish(session, job.id, now=NOW)
    assert refused.value.members["state"] == "open"
    assert escrow.balance(session, job.id) == 500


def test_a_job_ends_at_its_deadline_or_when_its_posting_time_is_over(session: Session) -> None:
    assert scenes.published(session, posting_time_limit_minutes=60).ends_at == later(minutes=60)
    deadline = later(minutes=20)
    assert scenes.published(session, posting_time_limit_minutes=60, deadline=deadline).ends_at == deadline
    starts_at = later(hours=2)
    job = scenes.published(session, posting_time_limit_minutes=60, starts_at=starts_at)
    assert (job.state, job.due_at, job.ends_at) == ("scheduled", starts_at, later(hours=3))


def test_a_draft_whose_deadline_has_passed_is_not_published(session: Session) -> None:
    organization = scenes.buyer(session)
    draft = scenes.draft(deadline=later(minutes=5))
    job = jobs.create(session, organization_id=organization.id, draft=draft, now=NOW)
    with pytest.raises(BadDraft) as refused:
        jobs.publish(session, job.id, now=later(minutes=5))
    assert refused.value.members["field"] == "deadline"


def test_a_scheduled_job_is_paid_now_and_opens_then(session: Session) -> None:
    starts_at = later(hours=2)
    job = scenes.published(session, starts_at=starts_at)
    assert escrow.balance(session, job.id) == 500
    with pytest.raises(NotOpen):
        scenes.claimed(session, job, now=later(hours=1))
    jobs.ring(session, job.id, now=starts_at - timedelta(seconds=1))
    assert jobs.get(session, job.id).state == "scheduled"
    jobs.ring(session, job.id, now=starts_at)
    job = jobs.get(session, job.id)
    assert (job.state, job.published_at, job.due_at) == ("open", starts_at, job.ends_at)
    assert told(session, job.id) == ["job.published"]
    assert scenes.claimed(session, job, now=starts_at).slot == 1


def test_a_scheduled_job_that_is_cancelled_gives_all_back(session: Session) -> None:
    organization = scenes.buyer(session, 500)
    job = scenes.published(session, organization.id, starts_at=later(hours=2))
    jobs.cancel(session, job.id, now=NOW)
    assert wallets.balance(session, organization.id) == 500
    assert told(session, job.id) == ["job.cancelled"]
    scenes.assert_sound(session, job.id)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"files_needed": 10, "files_per_submission": 3}, "files_needed"),
        ({"deadline": NOW}, "deadline"),
        ({"starts_at": later(hours=2), "deadline": later(hours=2)}, "deadline"),
        ({"audience": {"diamond_only": True}}, "audience.diamond_only"),
        ({"location": {"city": "Austn", "state": "TX", "country": "US"}}, "city"),
        ({"location": {}}, "location"),
        ({"location": {"latitude": 30.0, "longitude": -97.0}}, "radius_km"),
    ],
)
def test_a_draft_that_contradicts_itself_is_refused_by_field(
    session: Session, changes: dict[str, Any], field: str
) -> None:
    organization = scenes.buyer(session)
    with pytest.raises((BadDraft, BadPlace)) as refused:
        jobs.create(session, organization_id=organization.id, draft=scenes.draft(**changes), now=NOW)
    assert refused.value.members["field"] == field


# -- the end ---------------------------------------------------------------------------------------------------------


def test_a_draft_is_dropped_quietly_and_after_ninety_days_by_the_clock(session: Session) -> None:
    organization = scenes.buyer(session)
    mine, old = (jobs.create(session, organization_id=organization.id, draft=scenes.draft(), now=NOW) for _ in range(2))
    jobs.cancel(session, mine.id, now=NOW)
    jobs.ring(session, old.id, now=later(days=89))
    assert [jobs.get(session, job.id).state for job in (mine, old)] == ["cancelled", "draft"]
    jobs.ring(session, old.id, now=later(days=90))
    assert jobs.get(session, old.id).state == "cancelled"
    assert told(session, mine.id) == told(session, old.id) == []
    assert jobs.expected_escrow(session) == {}


def test_who_has_claimed_keeps_slot_and_money_when_the_job_is_cancelled(session: Session) -> None:
    organization, ana = scenes.buyer(session, 500), scenes.worker(session)
    job = scenes.published(session, organization.id)
    assignment = scenes.claimed(session, job, ana)
    jobs.cancel(session, job.id, now=NOW)
    assert (escrow.balance(session, job.id), wallets.balance(session, organization.id)) == (50, 450)
    verdicts.approve(session, scenes.handed_in(session, assignment).id, GOOD, now=NOW)
    assert earnings.balance(session, ana.id) == 40
    assert escrow.balance(session, job.id) == 0
    assert jobs.get(session, job.id).state == "cancelled"
    scenes.assert_sound(session, job.id)


def test_a_closing_job_waits_for_the_last_claim(session: Session) -> None:
    job = scenes.published(session)
    assignment = scenes.claimed(session, job)
    jobs.close(session, job.id, now=NOW)
    jobs.ring(session, job.id, now=later(minutes=5))
    assert (jobs.get(session, job.id).state, job.due_at) == ("closing", later(minutes=10))
    assignments.ring(session, assignment.id, now=later(minutes=30))
    assert jobs.get(session, job.id).state == "completed"
    assert escrow.balance(session, job.id) == 0
    assert told(session, job.id) == ["job.published", "job.completed"]


def test_the_last_approval_completes_the_job(session: Session) -> None:
    job = scenes.published(session, files_needed=2)
    both = [scenes.submission(session, job) for _ in range(2)]
    assert jobs.get(session, job.id).state == "filled"
    for one in both:
        verdicts.approve(session, one.id, GOOD, now=NOW)
    job = jobs.get(session, job.id)
    assert (job.state, job.ended_at, job.due_at) == ("completed", NOW, None)
    assert told(session, job.id) == ["job.published", "job.filled", "job.completed"]


def test_the_clock_opens_and_ends_jobs(database: str) -> None:
    now = clock.now()
    with db.transaction() as session:
        organization = scenes.buyer(session)
        at_six = scenes.published(session, organization.id, now=now, starts_at=now + timedelta(hours=6))
        short = scenes.published(session, organization.id, now=now, posting_time_limit_minutes=5)
        states = {job.id: job.state for job in (at_six, short)}
    assert list(states.values()) == ["scheduled", "open"]
    clock.shift(timedelta(minutes=6))
    background.move_jobs_on()
    with db.transaction() as session:
        assert [jobs.get(session, id).state for id in states] == ["scheduled", "expired"]
        assert told(session, short.id) == ["job.published", "job.expired"]
    clock.shift(timedelta(hours=6, seconds=1))
    background.move_jobs_on()
    background.move_jobs_on()
    with db.transaction() as session:
        assert [jobs.get(session, id).state for id in states] == ["open", "expired"]
        assert told(session, at_six.id) == ["job.published"]
        scenes.assert_books_right(session)


BUYERS: dict[str, tuple[set[str], Callable[[Session, UUID], Job]]] = {
    "publish": ({"draft"}, lambda session, id: jobs.publish(session, id, now=NOW)),
    "pause": ({"open", "filled"}, lambda session, id: jobs.pause(session, id)),
    "resume": ({"paused"}, lambda session, id: jobs.resume(session, id, now=NOW)),
    "close": (set(RUNNING), lambda session, id: jobs.close(session, id, now=NOW)),
    "cancel": ({"draft", "scheduled", *RUNNING}, lambda session, id: jobs.cancel(session, id, now=NOW)),
}


@pytest.mark.parametrize("switch", BUYERS)
@pytest.mark.parametrize("state", [*JOB.states, "dropped"])
def test_each_switch_works_where_the_table_allows_it_and_is_refused_elsewhere(
    session: Session, state: str, switch: str
) -> None:
    id = job_in(session, state)
    state = jobs.get(session, id).state
    allowed, act = BUYERS[switch]
    if state in allowed:
        act(session, id)
    else:
        with pytest.raises(IllegalMove) as refused, session.begin_nested():
            act(session, id)
        assert refused.value.members == {"state": state, "allowed": sorted(JOB.moves[state])}
    if state != "draft" or switch == "publish":
        scenes.assert_sound(session, id)


def job_in(session: Session, state: str) -> UUID:
    """A job brought to this state; a dropped one was cancelled as a draft."""
    organization = scenes.buyer(session)
    if state in ("draft", "dropped"):
        job = jobs.create(session, organization_id=organization.id, draft=scenes.draft(), now=NOW)
        return (job if state == "draft" else jobs.cancel(session, job.id, now=NOW)).id
    starts_at = later(hours=1) if state == "scheduled" else None
    job = scenes.published(session, organization.id, files_needed=1, starts_at=starts_at)
    one = scenes.submission(session, job) if state in ("filled", "closing", "completed") else None
    if state == "paused":
        jobs.pause(session, job.id)
    elif state in ("closing", "cancelled"):
        {"closing": jobs.close, "cancelled": jobs.cancel}[state](session, job.id, now=NOW)
    elif state == "expired":
        jobs.ring(session, job.id, now=later(days=8))
    elif state == "completed" and one:
        verdicts.approve(session, one.id, GOOD, now=NOW)
    assert jobs.get(session, job.id).state == state
    return job.id


# -- reading ---------------------------------------------------------------------------------------------------------


def test_a_job_is_its_own_buyers_alone(session: Session) -> None:
    job = scenes.published(session)
    assert jobs.get(session, job.id, organization_id=job.organization_id) is job
    with pytest.raises(NoSuchJob):
        jobs.get(session, job.id, organization_id=ids.new())
    with pytest.raises(NoSuchJob):
        jobs.get(session, ids.new())
    draft = jobs.create(session, organization_id=job.organization_id, draft=scenes.draft(), now=NOW)
    scenes.published(session)
    listed = session.scalars(jobs.of_organization(job.organization_id)).all()
    assert {one.id for one in listed} == {job.id, draft.id}
    assert session.scalars(jobs.of_organization(job.organization_id, state="open")).all() == [job]


def told(session: Session, job_id: UUID) -> list[str]:
    """The events about the job, oldest first."""
    of_job = select(Event.type).where(Event.subject == ids.show("job", job_id)).order_by(Event.id)
    return list(session.scalars(of_job))
