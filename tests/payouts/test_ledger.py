"""The ledger, and what the database refuses whoever asks it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from infra import db, ids
from payouts import accounts, earnings, escrow, ledger, wallets
from payouts.accounts import FEE, PROVIDER
from payouts.ledger import About, CauseReused, Overdrawn
from payouts.money import Split

Funded = Callable[[int], UUID]

ACCOUNT = (
    "INSERT INTO accounts (id, kind, owner_id, balance_cents, created_at) VALUES (:id, :kind, :owner, :cents, now())"
)
TRANSFER = "INSERT INTO transfers (id, reason, cause, legs, created_at) VALUES (:id, 'raw', :cause, :legs, now())"
ENTRY = "INSERT INTO entries (transfer_id, account_id, amount_cents) VALUES (:transfer, :account, :cents)"


def raw_transfer(session: Session, *, legs: int) -> UUID:
    id = ids.new()
    session.execute(text(TRANSFER), {"id": id, "cause": f"raw:{id}", "legs": legs})
    return id


def raw_entry(session: Session, transfer_id: UUID, account_id: UUID, cents: int) -> None:
    session.execute(text(ENTRY), {"transfer": transfer_id, "account": account_id, "cents": cents})


def account_id(session: Session, name: accounts.AccountName, now: datetime) -> UUID:
    return ledger.hold(session, [name], now=now)[name].id


# -- posting -------------------------------------------------------------------------------------------------------------


def test_a_transfer_moves_its_cents_and_nothing_else(funded: Funded, now: datetime) -> None:
    buyer, job, worker, submission = funded(10_000), ids.new(), ids.new(), ids.new()
    with db.transaction() as session:
        escrow.reserve(session, organization_id=buyer, job_id=job, cents=5_000, cause=f"publish:{job}", now=now)
    with db.transaction() as session:
        earnings.pay(session, job_id=job, worker_id=worker, submission_id=submission, split=Split(50, 40, 10), now=now)
    with db.transaction() as session:
        assert wallets.balance(session, buyer) == 5_000
        assert escrow.balance(session, job) == 4_950
        assert earnings.balance(session, worker) == 40
        assert ledger.balance(session, FEE) == 10
        assert ledger.balance(session, PROVIDER) == -10_000


def test_the_same_cause_moves_money_once(session: Session, now: datetime) -> None:
    entries = {PROVIDER: -100, accounts.wallet(ids.new()): 100}
    first = ledger.post(session, reason="top_up", cause="top_up:1", entries=entries, now=now)
    again = ledger.post(session, reason="top_up", cause="top_up:1", entries=entries, now=now)
    assert again.id == first.id
    assert ledger.balance(session, PROVIDER) == -100


def test_the_same_cause_comes_back_even_when_the_money_is_spent(session: Session, now: datetime) -> None:
    buyer, job = ids.new(), ids.new()
    wallets.top_up(session, organization_id=buyer, cents=100, cause="top_up:1", now=now)
    reserve = {"organization_id": buyer, "job_id": job, "cents": 100, "cause": "publish:1", "now": now}
    first = escrow.reserve(session, **reserve)  # type: ignore[arg-type]
    assert escrow.reserve(session, **reserve).id == first.id  # type: ignore[arg-type]


@pytest.mark.parametrize("difference", ["amount", "reason", "account", "about"])
def test_a_cause_with_another_meaning_is_a_bug(session: Session, now: datetime, difference: str) -> None:
    buyer, other = ids.new(), ids.new()
    wallet = accounts.wallet(other if difference == "account" else buyer)
    ledger.post(session, reason="top_up", cause="x", entries={PROVIDER: -100, accounts.wallet(buyer): 100}, now=now)
    cents = 200 if difference == "amount" else 100
    with pytest.raises(CauseReused):
        ledger.post(
            session,
            reason="refund" if difference == "reason" else "top_up",
            cause="x",
            entries={PROVIDER: -cents, wallet: cents},
            about=About(job_id=ids.new()) if difference == "about" else About(),
            now=now,
        )


@pytest.mark.parametrize("amounts", [(100, -99), (100, 0), (0, 0)])
def test_unbalanced_entries_are_a_bug(session: Session, now: datetime, amounts: tuple[int, int]) -> None:
    entries = {accounts.wallet(ids.new()): amounts[0], PROVIDER: amounts[1]}
    with pytest.raises(ValueError, match="add up to zero"):
        ledger.post(session, reason="top_up", cause="x", entries=entries, now=now)


def test_overdrawn_says_the_numbers_and_leaves_nothing(session: Session, now: datetime) -> None:
    buyer, job = ids.new(), ids.new()
    wallets.top_up(session, organization_id=buyer, cents=100, cause="top_up:1", now=now)
    with pytest.raises(Overdrawn) as short:
        ledger.post(
            session,
            reason="reserve",
            cause="x",
            entries={accounts.wallet(buyer): -101, accounts.escrow(job): 101},
            now=now,
        )
    assert (short.value.available_cents, short.value.needed_cents) == (100, 101)
    assert ledger.find(session, "x") is None
    assert wallets.balance(session, buyer) == 100


def test_history_is_newest_first_and_pages_without_gaps(session: Session, now: datetime) -> None:
    buyer = ids.new()
    for cents in range(1, 8):
        wallets.top_up(session, organization_id=buyer, cents=cents, cause=f"top_up:{cents}", now=now)
    seen: list[int] = []
    before: UUID | None = None
    while page := wallets.history(session, buyer, limit=3, before=before):
        seen += [line.amount_cents for line in page]
        before = page[-1].transfer_id
    assert seen == [7, 6, 5, 4, 3, 2, 1]


def test_journal_shows_whole_transfers(session: Session, now: datetime) -> None:
    buyer, job, worker = ids.new(), ids.new(), ids.new()
    wallets.top_up(session, organization_id=buyer, cents=100, cause="top_up:1", now=now)
    escrow.reserve(session, organization_id=buyer, job_id=job, cents=100, cause="publish:1", now=now)
    earnings.pay(session, job_id=job, worker_id=worker, submission_id=ids.new(), split=Split(50, 40, 10), now=now)
    paid, reserved = ledger.journal(session, limit=10, job_id=job)
    assert paid.entries == {accounts.escrow(job): -50, accounts.earnings(worker): 40, FEE: 10}
    assert reserved.entries == {accounts.wallet(buyer): -100, accounts.escrow(job): 100}
    assert [posting.reason for posting in ledger.journal(session, limit=10, before=reserved.transfer_id)] == ["top_up"]


# -- racing --------------------------------------------------------------------------------------------------------------


def test_racing_postings_of_one_cause_post_once(funded: Funded, now: datetime) -> None:
    buyer, job = funded(1_000), ids.new()

    def reserve(_: int) -> UUID:
        with db.transaction() as session:
            return escrow.reserve(
                session, organization_id=buyer, job_id=job, cents=600, cause=f"publish:{job}", now=now
            ).id

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(reserve, range(32)))) == 1
    with db.transaction() as session:
        assert escrow.balance(session, job) == 600


def test_crossing_transfers_do_not_deadlock(funded: Funded, now: datetime) -> None:
    """Half go from a to b and half from b to a; with locks taken in the order of the entries they would meet."""
    buyer, job = funded(1_000), ids.new()
    with db.transaction() as session:
        escrow.reserve(session, organization_id=buyer, job_id=job, cents=500, cause=f"publish:{job}", now=now)

    def move(number: int) -> None:
        step = escrow.reserve if number % 2 else escrow.refund
        with db.transaction() as session:
            step(session, organization_id=buyer, job_id=job, cents=1, cause=f"resize:{number}", now=now)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(move, range(200)))
    with db.transaction() as session:
        assert (wallets.balance(session, buyer), escrow.balance(session, job)) == (500, 500)


def test_a_transfer_does_not_wait_for_another_that_shares_only_the_fee(funded: Funded, now: datetime) -> None:
    jobs = [ids.new(), ids.new()]
    for job in jobs:
        buyer = funded(100)
        with db.transaction() as session:
            escrow.reserve(session, organization_id=buyer, job_id=job, cents=100, cause=f"publish:{job}", now=now)

    def pay(session: Session, job: UUID) -> None:
        session.execute(text("SET LOCAL lock_timeout = '2s'"))
        earnings.pay(
            session, job_id=job, worker_id=ids.new(), submission_id=ids.new(), split=Split(50, 40, 10), now=now
        )

    def pay_apart(job: UUID) -> None:
        with db.transaction() as session:
            pay(session, job)

    with db.transaction() as session:  # the fee account is there
        ledger.hold(session, [FEE], now=now)
    with ThreadPoolExecutor(1) as pool, db.transaction() as session:
        pay(session, jobs[0])
        pool.submit(pay_apart, jobs[1]).result()


# -- what the database refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [[], [100], [100, -99], [100, -100, 5]])
def test_database_refuses_an_unbalanced_transfer_at_commit(database: str, now: datetime, entries: list[int]) -> None:
    connection = db.engine().connect()
    session = Session(connection)
    transfer = raw_transfer(session, legs=max(len(entries), 2))
    for cents in entries:
        name = accounts.wallet(ids.new()) if cents > 0 else PROVIDER
        raw_entry(session, transfer, account_id(session, name, now), cents)
    with pytest.raises(IntegrityError, match="does not balance"):  # all of it was accepted so far
        session.commit()
    connection.close()


def add_balanced_entries(transfer_id: UUID, now: datetime) -> None:
    with db.transaction() as session:
        raw_entry(session, transfer_id, account_id(session, accounts.wallet(ids.new()), now), 50)
        raw_entry(session, transfer_id, account_id(session, FEE, now), -50)


def test_database_refuses_balanced_entries_added_to_an_old_transfer(database: str, now: datetime) -> None:
    with db.transaction() as session:
        top_up = wallets.top_up(session, organization_id=ids.new(), cents=100, cause="top_up:1", now=now)
    with pytest.raises(IntegrityError, match="does not balance: 4 of 2"):
        add_balanced_entries(top_up.id, now)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET amount_cents = amount_cents * 2",
        "DELETE FROM entries",
        "TRUNCATE entries",
        "UPDATE transfers SET cause = 'another'",
        "DELETE FROM transfers",
        "TRUNCATE transfers CASCADE",
        "UPDATE accounts SET balance_cents = 1000000 WHERE kind = 'wallet'",
        "DELETE FROM accounts",
        "INSERT INTO accounts VALUES (gen_random_uuid(), 'wallet', gen_random_uuid(), 100, now())",
    ],
)
def test_database_refuses_to_change_history(funded: Funded, statement: str) -> None:
    funded(100)
    with pytest.raises(IntegrityError, match="new transfers only"), db.transaction() as session:
        session.execute(text(statement))


def test_database_refuses_a_negative_balance(session: Session, now: datetime) -> None:
    buyer = ids.new()
    wallets.top_up(session, organization_id=buyer, cents=100, cause="top_up:1", now=now)
    wallet = account_id(session, accounts.wallet(buyer), now)
    transfer = raw_transfer(session, legs=2)
    with pytest.raises(IntegrityError, match="balance_not_negative"):
        raw_entry(session, transfer, wallet, -101)


def test_database_refuses_a_second_posting_of_one_cause(session: Session) -> None:
    session.execute(text(TRANSFER), {"id": ids.new(), "cause": "x", "legs": 2})
    with pytest.raises(IntegrityError, match="uq_transfers_cause"):
        session.execute(text(TRANSFER), {"id": ids.new(), "cause": "x", "legs": 2})


@pytest.mark.parametrize(
    ("kind", "owner", "cents"), [("purse", True, 0), ("wallet", False, 0), ("wallet", True, None), ("fee", False, 0)]
)
def test_database_refuses_accounts_out_of_the_chart(
    session: Session, kind: str, owner: bool, cents: int | None
) -> None:
    row = {"id": ids.new(), "kind": kind, "owner": ids.new() if owner else None, "cents": cents}
    with pytest.raises(IntegrityError, match="ck_accounts_"):
        session.execute(text(ACCOUNT), row)


def test_database_refuses_a_second_account_of_nobody(session: Session) -> None:
    fee = {"kind": "fee", "owner": None, "cents": None}
    session.execute(text(ACCOUNT), {"id": ids.new(), **fee})
    with pytest.raises(IntegrityError, match="uq_accounts_kind_owner_id"):
        session.execute(text(ACCOUNT), {"id": ids.new(), **fee})
