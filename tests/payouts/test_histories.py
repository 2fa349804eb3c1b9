"""
Random histories of top-up, publish, resize, approve, cashout, refusal, silence and crash, told to the ledger and to a few
Python numbers at once. After every step the two agree; in the end nothing is stuck and reconciliation finds nothing.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from infra import clock, db, ids
from payouts import background, cashouts, earnings, escrow, ledger, rails, reconcile, wallets
from payouts.accounts import FEE, PROVIDER
from payouts.cashouts import NotEnoughEarned
from payouts.escrow import WalletTooShort
from payouts.models import Account, Cashout
from payouts.money import FeeMode, Split, split
from payouts.rails import RailRefused, RailUnavailable, sandbox

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OVERDUE = timedelta(minutes=5)


@dataclass(eq=False)
class Job:
    """What a job needs, as the package above knows it: slots left and what each costs."""

    buyer: UUID
    slots: int
    price: Split
    id: UUID = field(default_factory=ids.new)
    resizes: int = 0

    @property
    def needs(self) -> int:
        return self.slots * self.price.buyer

    def resize_cause(self) -> str:
        self.resizes += 1
        return f"resize:{self.id}:{self.resizes}"


BUYERS = st.runner().flatmap(lambda machine: st.sampled_from(machine.buyers))
WORKERS = st.runner().flatmap(lambda machine: st.sampled_from(machine.workers))


class Histories(RuleBasedStateMachine):
    jobs: Bundle[Job] = Bundle("jobs")
    approved: Bundle[tuple[UUID, Job, UUID]] = Bundle("approved")
    asked: Bundle[UUID] = Bundle("asked")

    expected_escrow: ClassVar[dict[UUID, int]] = {}  # of all histories so far: they share a database

    def __init__(self) -> None:
        super().__init__()
        self.buyers, self.workers = [ids.new(), ids.new()], [ids.new(), ids.new()]
        self.wallet: dict[UUID, int] = {}
        self.earned: dict[UUID, int] = {}
        self.transit: dict[UUID, int] = {}
        self.jobs_made: list[Job] = []
        self.running: dict[UUID, tuple[UUID, int]] = {}
        self.shifted = timedelta()
        with db.transaction() as session:
            self.fee, self.provider = ledger.balance(session, FEE), ledger.balance(session, PROVIDER)

    @initialize(target=jobs)
    def rich_buyers_and_workers_with_something_earned(self) -> Any:
        for buyer, worker in zip(self.buyers, self.workers, strict=True):
            self.wallet[buyer] = self.earned[worker] = self.transit[worker] = 0
            self.top_up(buyer, 100_000, times=1)
            job = self.publish(buyer, 20, 300, "inclusive")
            self.approve(job, worker, 10)
        return multiple(*self.jobs_made)

    @rule(buyer=BUYERS, cents=st.integers(1, 50_000), times=st.integers(1, 2))
    def top_up(self, buyer: UUID, cents: int, times: int) -> None:
        cause = f"top_up:{ids.new()}"
        for _ in range(times):
            with db.transaction() as session:
                wallets.top_up(session, organization_id=buyer, cents=cents, cause=cause, now=NOW)
        self.wallet[buyer] += cents
        self.provider -= cents

    @rule(
        target=jobs,
        buyer=BUYERS,
        slots=st.integers(1, 20),
        price=st.integers(100, 3_000),
        mode=st.sampled_from(["inclusive", "on_top"]),
    )
    def publish(self, buyer: UUID, slots: int, price: int, mode: FeeMode) -> Any:
        job = Job(buyer, 0, split(price, mode, fee_percent=20, on_top_percent=30))
        if not self._reserve(job, slots, f"publish:{job.id}"):
            return multiple()
        self.jobs_made.append(job)
        return job

    @rule(job=jobs, more=st.integers(1, 10))
    def resize_up(self, job: Job, more: int) -> None:
        self._reserve(job, more, job.resize_cause())

    @rule(job=jobs, less=st.integers(1, 20), times=st.integers(1, 2))
    def resize_down_or_cancel(self, job: Job, less: int, times: int) -> None:
        less = min(less, job.slots)
        if less == 0:
            return
        cents, cause = less * job.price.buyer, job.resize_cause()
        for _ in range(times):
            with db.transaction() as session:
                escrow.refund(session, organization_id=job.buyer, job_id=job.id, cents=cents, cause=cause, now=NOW)
        job.slots -= less
        self.wallet[job.buyer] += cents

    @rule(target=approved, job=jobs, worker=WORKERS, count=st.integers(1, 10))
    def approve(self, job: Job, worker: UUID, count: int) -> Any:
        submissions = [(ids.new(), job, worker) for _ in range(min(count, job.slots))]
        for submission in submissions:
            self.approve_again(submission)
            job.slots -= 1
            self.earned[worker] += job.price.worker
            self.fee += job.price.fee
        return multiple(*submissions)

    @rule(submission=approved)
    def approve_again(self, submission: tuple[UUID, Job, UUID]) -> None:
        id, job, worker = submission
        with db.transaction() as session:
            earnings.pay(session, job_id=job.id, worker_id=worker, submission_id=id, split=job.price, now=NOW)

    @rule(target=asked, worker=WORKERS, part=st.none() | st.integers(1_000, 5_000), times=st.integers(1, 2))
    def ask_for_cashout(self, worker: UUID, part: int | None, times: int) -> Any:
        client_id = ids.new()
        try:
            for _ in range(times):
                with db.transaction() as session:
                    cashout = cashouts.request(
                        session, worker_id=worker, amount_cents=part, client_id=client_id, now=clock.now()
                    )
        except NotEnoughEarned:
            assert self.earned[worker] < (part or 1_000)
            return multiple()
        assert cashout.amount_cents == (part or self.earned[worker])
        self.earned[worker] -= cashout.amount_cents
        self.transit[worker] += cashout.amount_cents
        self.running[cashout.id] = (worker, cashout.amount_cents)
        return cashout.id

    @rule(worker=WORKERS, refuse=st.booleans())
    def the_rail_is_told(self, worker: UUID, refuse: bool) -> None:
        with db.transaction() as session:
            if refuse:
                sandbox.fail_next(session, worker_id=worker, reason="No.", now=NOW)
            else:
                sandbox.silence_next(session, worker_id=worker, now=NOW)

    @rule(cashout=asked)
    def send(self, cashout: UUID) -> None:
        with suppress(RailUnavailable):
            background._send(cashout)
        self._see_what_became()

    @rule(cashout=asked, rail_asked=st.booleans())
    def die_while_sending(self, cashout: UUID, rail_asked: bool) -> None:
        """Between "about to send" and the call, or between the call and the answer."""
        with db.transaction() as session:
            begun = cashouts.begin(session, cashout, now=clock.now())
        if begun and rail_asked:
            with suppress(RailRefused, RailUnavailable):
                rails.named(begun.rail).send(cashouts.payment(begun))

    @rule()
    def the_clock_rings(self) -> None:
        self.shifted += OVERDUE
        clock.shift(self.shifted)
        background.resume_overdue()
        self._see_what_became()

    @invariant()
    def ledger_and_numbers_agree(self) -> None:
        expected = {("wallet", id): cents for id, cents in self.wallet.items()}
        expected |= {("escrow", job.id): job.needs for job in self.jobs_made}
        expected |= {("earnings", id): cents for id, cents in self.earned.items()}
        expected |= {("transit", id): cents for id, cents in self.transit.items()}
        kept = select(Account.kind, Account.owner_id, Account.balance_cents)
        with db.transaction() as session:
            found = {(kind, owner): cents for kind, owner, cents in session.execute(kept)}
            assert (ledger.balance(session, FEE), ledger.balance(session, PROVIDER)) == (self.fee, self.provider)
        assert {name: found.get(name, 0) for name in expected} == expected
        assert min(expected.values(), default=0) >= 0

    def teardown(self) -> None:
        self.the_clock_rings()
        self.the_clock_rings()  # a rail that was silent has no second silence for the same key
        assert self.running == {}
        self.ledger_and_numbers_agree()
        self.expected_escrow.update({job.id: job.needs for job in self.jobs_made})
        statement = rails.named("sandbox").statement()
        with db.transaction() as session:
            reconcile.freeze(session)
            assert reconcile.check(session, expected_escrow=self.expected_escrow, statement=statement) == []
        clock.shift(timedelta())

    def _reserve(self, job: Job, slots: int, cause: str) -> bool:
        cents = slots * job.price.buyer
        try:
            with db.transaction() as session:
                escrow.reserve(session, organization_id=job.buyer, job_id=job.id, cents=cents, cause=cause, now=NOW)
        except WalletTooShort:
            assert self.wallet[job.buyer] < cents
            return False
        job.slots += slots
        self.wallet[job.buyer] -= cents
        return True

    def _see_what_became(self) -> None:
        """A finished cashout is paid if the rail paid it, and the money is back if it did not."""
        paid = rails.named("sandbox").statement().paid
        for id, (worker, cents) in list(self.running.items()):
            with db.transaction() as session:
                state = session.get_one(Cashout, id).state
            if state in ("paid", "failed"):
                del self.running[id]
                assert paid.get(ids.show("csh", id), 0) == (cents if state == "paid" else 0)
                self.transit[worker] -= cents
                if state == "paid":
                    self.provider += cents
                else:
                    self.earned[worker] += cents


def test_histories_keep_the_books_right(database: str) -> None:
    Histories.expected_escrow.clear()
    run_state_machine_as_test(
        Histories, settings=hypothesis.settings(max_examples=12, stateful_step_count=40, deadline=None)
    )
