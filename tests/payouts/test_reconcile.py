"""Reconciliation finds what the database should have refused: here its triggers are off and its rows are bent."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from infra import clock, db, ids
from payouts import background, cashouts, escrow, ledger, rails, reconcile, wallets
from payouts.models import Cashout
from payouts.rails import Statement
from payouts.reconcile import Owed, Violation

Earned = Callable[[int], UUID]
Funded = Callable[[int], UUID]


def bend(statement: str, **values: object) -> None:
    """What a hand in the database would do, with the triggers switched off."""
    with db.transaction() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text(statement), values)


def check(
    *, expected_escrow: dict[UUID, int] | None = None, statement: Statement | None = None
) -> dict[str, list[Violation]]:
    found: dict[str, list[Violation]] = {}
    with db.transaction() as session:
        reconcile.freeze(session)
        for violation in reconcile.check(session, expected_escrow=expected_escrow, statement=statement):
            found.setdefault(violation.rule, []).append(violation)
    return found


@pytest.fixture
def paid_out(earned: Earned) -> Cashout:
    """A cashout of 1,500 cents that went all the way."""
    worker = earned(1_500)
    with db.transaction() as session:
        cashout = cashouts.request(session, worker_id=worker, amount_cents=None, client_id="x", now=clock.now())
    clock.shift(timedelta(minutes=5))
    background.resume_overdue()
    return cashout


def test_every_accepted_submission_is_paid_as_agreed_and_no_other(earned: Earned) -> None:
    worker = earned(80)
    with db.transaction() as session:
        submission = session.execute(text("SELECT submission_id FROM transfers WHERE reason = 'pay'")).scalar_one()
        good = {submission: Owed(worker, 80, 80, 0)}
        assert reconcile.check(session, owed=good) == []
        for wrong in ({}, {submission: Owed(worker, 80, 79, 1)}, {submission: Owed(ids.new(), 80, 80, 0)},
                      {**good, ids.new(): Owed(worker, 80, 80, 0)}):  # fmt: skip
            (violation,) = reconcile.check(session, owed=wrong)
            assert violation.rule == "what is accepted is paid, and nothing else"


def test_good_books_have_no_violation(paid_out: Cashout) -> None:
    assert check(expected_escrow={}, statement=rails.named("sandbox").statement()) == {}


def test_empty_books_have_no_violation(database: str) -> None:
    assert check(expected_escrow={ids.new(): 0}, statement=rails.named("sandbox").statement()) == {}


def test_books_name_every_kind_and_add_up_to_zero(earned: Earned, funded: Funded) -> None:
    earned(1_500)
    funded(300)
    with db.transaction() as session:
        books = reconcile.books(session)
    assert books == {"wallet": 300, "escrow": 0, "earnings": 1_500, "transit": 0, "fee": 0, "provider": -1_800}


def test_a_lost_entry_is_found(earned: Earned) -> None:
    worker = earned(1_500)
    bend("DELETE FROM entries WHERE account_id = (SELECT id FROM accounts WHERE owner_id = :worker)", worker=worker)
    found = check()
    assert found.keys() == {
        "every transfer balances",
        "all accounts sum to zero",
        "a balance is the sum of its entries",
    }
    [violation] = found["every transfer balances"]
    assert violation.found == "1 adding up to -1500"
    assert violation.rows[0].startswith("transfers ")


def test_a_bent_balance_is_found(funded: Funded) -> None:
    buyer = funded(300)
    bend("UPDATE accounts SET balance_cents = 301 WHERE owner_id = :buyer", buyer=buyer)
    with db.transaction() as session:
        [account] = session.execute(text("SELECT id FROM accounts WHERE owner_id = :buyer"), {"buyer": buyer}).scalars()
    assert check() == {
        "a balance is the sum of its entries": [
            Violation("a balance is the sum of its entries", [f"accounts {account}"], "300", "301")
        ]
    }


def test_an_account_below_zero_is_found(funded: Funded) -> None:
    funded(300)
    bend("UPDATE entries SET amount_cents = -amount_cents")
    assert [violation.found for violation in check()["no wallet is below zero"]] == ["-300"]


def test_a_second_payment_for_one_submission_is_found(earned: Earned) -> None:
    earned(1_000)
    earned(1_000)
    submission = ids.new()
    bend("UPDATE transfers SET submission_id = :submission WHERE reason = 'pay'", submission=submission)
    [violation] = check()["a submission is paid once"]
    assert violation.rows[0] == f"submissions {submission}"
    assert len(violation.rows) == 3


@pytest.mark.parametrize("unknown", [True, False], ids=["nothing was expected", "another sum was expected"])
def test_escrow_that_no_slot_needs_is_found(database: str, unknown: bool) -> None:
    buyer, job = ids.new(), ids.new()
    with db.transaction() as session:
        wallets.top_up(session, organization_id=buyer, cents=500, cause="top_up:1", now=clock.now())
        escrow.reserve(session, organization_id=buyer, job_id=job, cents=500, cause="publish:1", now=clock.now())
    assert check(expected_escrow={job: 500}) == {}
    rule = "escrow is what the unapproved slots need"
    expected = {} if unknown else {job: 450}
    assert check(expected_escrow=expected) == {
        rule: [Violation(rule, [f"jobs {job}"], "0" if unknown else "450", "500")]
    }


def test_a_job_whose_escrow_is_missing_is_found(database: str) -> None:
    job = ids.new()
    [violation] = check(expected_escrow={job: 100})["escrow is what the unapproved slots need"]
    assert (violation.expected, violation.found) == ("100", "0")


def test_a_cashout_without_its_money_is_found(paid_out: Cashout) -> None:
    bend("DELETE FROM entries WHERE transfer_id IN (SELECT id FROM transfers WHERE reason = 'cashout_paid')")
    found = check()
    assert {"a cashout moves its money once", "transit is what running cashouts carry"} <= found.keys()
    [violation] = found["a cashout moves its money once"]
    assert violation.rows == [f"cashouts {paid_out.id}"]
    assert (violation.expected, violation.found) == ("cashout 1500, cashout_paid -1500", "cashout 1500")


def test_a_cashout_set_back_by_hand_is_found(paid_out: Cashout) -> None:
    bend("UPDATE cashouts SET state = 'requested', due_at = now(), receipt = NULL, finished_at = NULL")
    [violation] = check()["transit is what running cashouts carry"]
    assert violation.rows == [f"workers {paid_out.worker_id}"]
    assert (violation.expected, violation.found) == ("1500", "0")


def test_what_the_rail_sees_otherwise_is_found(paid_out: Cashout) -> None:
    key, later = ids.show("csh", paid_out.id), clock.now() + timedelta(minutes=1)

    def rules(paid: dict[str, int]) -> set[str]:
        return set(check(statement=Statement(later, paid)))

    assert rules({key: 1_500}) == set()
    assert rules({}) == {"a paid cashout is paid by the rail"}
    assert rules({key: 1_499}) == {"the rail pays the amount"}
    assert rules({key: 1_500, "co_stranger": 7}) == {"the rail pays only cashouts"}
    bend("UPDATE cashouts SET state = 'failed', receipt = NULL, failure = 'bent'")
    assert "a failed cashout is not paid" in rules({key: 1_500})


def test_a_payment_later_than_the_statement_is_no_violation(earned: Earned) -> None:
    worker = earned(1_500)
    before = rails.named("sandbox").statement()
    with db.transaction() as session:
        cashout = cashouts.request(session, worker_id=worker, amount_cents=None, client_id="x", now=clock.now())
    clock.shift(timedelta(minutes=5))
    background.resume_overdue()
    assert check(statement=before) == {}
    with db.transaction() as session:
        assert session.get_one(Cashout, cashout.id).state == "paid"


def test_a_frozen_check_does_not_see_what_happens_meanwhile(funded: Funded) -> None:
    funded(300)
    with ThreadPoolExecutor(1) as pool, db.transaction() as session:
        reconcile.freeze(session)
        before = reconcile.books(session)
        pool.submit(funded, 500).result()
        assert reconcile.books(session) == before
        assert len(ledger.journal(session, limit=10)) == 1


def test_a_violation_reads_as_a_sentence() -> None:
    shown = str(Violation("a submission is paid once", ["submissions 1", "transfers 2"], "1 payment", "2"))
    assert shown == "a submission is paid once: submissions 1, transfers 2: expected 1 payment, found 2"
