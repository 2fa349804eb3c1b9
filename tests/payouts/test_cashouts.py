"""Cashouts: once, whoever dies or asks again on the way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from infra import clock, db, ids
from infra.db import NetworkInTransaction
from infra.outbox import Event
from payouts import accounts, background, cashouts, earnings, ledger, rails, reconcile
from payouts.accounts import PROVIDER
from payouts.cashouts import CashoutDiffers, CashoutTooSmall, NoSuchCashout, NotEnoughEarned
from payouts.models import Cashout, SandboxPayout
from payouts.rails import Payment, RailRefused, RailUnavailable, Receipt, sandbox

Earned = Callable[[int], UUID]


def request(worker_id: UUID, amount_cents: int | None = None, client_id: str = "tap-1") -> Cashout:
    with db.transaction() as session:
        return cashouts.request(
            session, worker_id=worker_id, amount_cents=amount_cents, client_id=client_id, now=clock.now()
        )


def send(cashout: Cashout) -> None:
    background.send(event_of(cashout, "cashout.requested").id)


def event_of(cashout: Cashout, type: str) -> Event:
    with db.transaction() as session:
        wanted = select(Event).where(Event.type == type, Event.subject == ids.show("csh", cashout.id))
        return session.scalars(wanted).one()


def now_of(cashout: Cashout) -> Cashout:
    with db.transaction() as session:
        return session.get_one(Cashout, cashout.id)


def money(worker_id: UUID) -> dict[str, int]:
    with db.transaction() as session:
        return {
            "earnings": earnings.balance(session, worker_id),
            "transit": ledger.balance(session, accounts.transit(worker_id)),
        }


def paid_by_the_rail() -> list[int]:
    return list(rails.named("sandbox").statement().paid.values())


def assert_books_are_right() -> None:
    statement = rails.named("sandbox").statement()
    with db.transaction() as session:
        assert reconcile.check(session, statement=statement) == []


# -- asking --------------------------------------------------------------------------------------------------------------


def test_the_whole_balance_leaves_the_earnings_at_once(earned: Earned) -> None:
    worker = earned(2_345)
    cashout = request(worker)
    assert (cashout.state, cashout.amount_cents) == ("requested", 2_345)
    assert money(worker) == {"earnings": 0, "transit": 2_345}


def test_a_part_leaves_the_rest(earned: Earned) -> None:
    worker = earned(2_345)
    request(worker, 1_000)
    assert money(worker) == {"earnings": 1_345, "transit": 1_000}


def test_less_than_the_minimum_is_refused(earned: Earned) -> None:
    worker = earned(5_000)
    with pytest.raises(CashoutTooSmall, match="at least 1,000 cents; this one is 999") as refused:
        request(worker, 999)
    assert refused.value.members == {"amount_cents": 999, "minimum_cents": 1_000}


@pytest.mark.parametrize(("earned_cents", "asked", "needed"), [(740, None, 1_000), (2_000, 2_001, 2_001)])
def test_more_than_was_earned_is_refused(earned: Earned, earned_cents: int, asked: int | None, needed: int) -> None:
    worker = earned(earned_cents)
    with pytest.raises(NotEnoughEarned) as refused:
        request(worker, asked)
    assert refused.value.members == {
        "needed_cents": needed,
        "available_cents": earned_cents,
        "missing_cents": needed - earned_cents,
    }
    assert money(worker) == {"earnings": earned_cents, "transit": 0}


def test_a_worker_who_never_earned_is_refused(database: str) -> None:
    with pytest.raises(NotEnoughEarned):
        request(ids.new())


def test_the_minimum_is_a_setting(earned: Earned, configure: Callable[..., None]) -> None:
    configure(cashout_minimum_cents=10)
    assert request(earned(10)).amount_cents == 10


def test_asked_twice_with_one_client_id_it_is_the_same_cashout(earned: Earned) -> None:
    worker = earned(5_000)
    first = request(worker, 2_000)
    assert request(worker, 2_000).id == first.id
    assert request(worker, None).id == first.id
    assert money(worker) == {"earnings": 3_000, "transit": 2_000}
    with pytest.raises(CashoutDiffers):
        request(worker, 3_000)


def test_client_ids_of_two_workers_do_not_meet(earned: Earned) -> None:
    assert request(earned(1_000)).id != request(earned(1_000)).id


def test_one_worker_does_not_see_anothers(earned: Earned) -> None:
    worker = earned(1_000)
    cashout = request(worker)
    with db.transaction() as session:
        assert cashouts.get(session, cashout.id, worker_id=worker).id == cashout.id
        assert [found.id for found in cashouts.history(session, worker, limit=5)] == [cashout.id]
        assert cashouts.history(session, worker, limit=5, before=cashout.id) == []
        with pytest.raises(NoSuchCashout):
            cashouts.get(session, cashout.id, worker_id=ids.new())


@pytest.mark.parametrize("same_client_id", [True, False], ids=["one tap", "fifty taps"])
def test_fifty_racing_requests_pay_once(earned: Earned, same_client_id: bool) -> None:
    worker = earned(1_500)

    def tap(number: int) -> UUID | None:
        try:
            return request(worker, client_id="tap" if same_client_id else f"tap-{number}").id
        except NotEnoughEarned:
            return None

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(tap, range(50)))
    assert len({id for id in answers if id}) == 1
    assert answers.count(None) == (0 if same_client_id else 49)
    background.resume_overdue()
    clock.shift(timedelta(minutes=5))
    background.resume_overdue()
    assert paid_by_the_rail() == [1_500]
    assert money(worker) == {"earnings": 0, "transit": 0}
    assert_books_are_right()


# -- sending -------------------------------------------------------------------------------------------------------------


def test_a_sent_cashout_is_paid(earned: Earned) -> None:
    worker = earned(1_500)
    cashout = request(worker)
    send(cashout)
    after = now_of(cashout)
    assert (after.state, after.due_at) == ("paid", None)
    assert after.receipt == "sandbox_" + ids.show("csh", cashout.id)
    assert event_of(cashout, "cashout.paid").data == {"worker": ids.show("wkr", worker), "amount_cents": 1_500}
    assert money(worker) == {"earnings": 0, "transit": 0}
    with db.transaction() as session:
        assert ledger.balance(session, PROVIDER) == 0
    assert_books_are_right()


def test_a_refused_cashout_puts_the_money_back_and_says_why(earned: Earned) -> None:
    worker = earned(1_500)
    cashout = request(worker)
    with db.transaction() as session:
        sandbox.fail_next(session, worker_id=worker, reason="The bank account is closed.", now=clock.now())
    send(cashout)
    after = now_of(cashout)
    assert (after.state, after.failure) == ("failed", "The bank account is closed.")
    assert event_of(cashout, "cashout.failed").data["reason"] == "The bank account is closed."
    assert money(worker) == {"earnings": 1_500, "transit": 0}
    assert paid_by_the_rail() == []
    assert_books_are_right()

    send(second := request(worker, client_id="tap-2"))  # the fault was for one payment
    assert now_of(second).state == "paid"


def test_sent_twice_it_is_paid_once(earned: Earned) -> None:
    cashout = request(earned(1_500))
    send(cashout)
    send(cashout)
    assert paid_by_the_rail() == [1_500]
    assert_books_are_right()


def test_racing_senders_pay_once(earned: Earned) -> None:
    cashout = request(earned(1_500))
    event = event_of(cashout, "cashout.requested").id
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: background.send(event), range(8)))
    assert now_of(cashout).state == "paid"
    assert paid_by_the_rail() == [1_500]
    assert_books_are_right()


def test_a_rail_that_paid_and_did_not_answer_is_asked_again_with_the_same_key(earned: Earned) -> None:
    worker = earned(1_500)
    cashout = request(worker)
    with db.transaction() as session:
        sandbox.silence_next(session, worker_id=worker, now=clock.now())
    with pytest.raises(RailUnavailable):
        send(cashout)
    assert now_of(cashout).state == "sending"
    assert money(worker) == {"earnings": 0, "transit": 1_500}
    assert_books_are_right()

    clock.shift(timedelta(minutes=5))
    background.resume_overdue()
    assert now_of(cashout).state == "paid"
    assert paid_by_the_rail() == [1_500]
    assert_books_are_right()


class Crash(BaseException):
    """The process ends here."""


def crash(*_: Any, **__: Any) -> None:
    raise Crash


@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize(
    "at", ["before it is begun", "before the rail is asked", "after the rail did it", "in the answer"]
)
def test_a_process_that_dies_anywhere_loses_and_doubles_nothing(
    earned: Earned, monkeypatch: pytest.MonkeyPatch, at: str, refuses: bool
) -> None:
    worker = earned(1_500)
    if refuses:
        with db.transaction() as session:
            sandbox.fail_next(session, worker_id=worker, reason="No.", now=clock.now())
    cashout = request(worker)
    answer = "fail" if refuses else "confirm"
    record = ledger.post
    with monkeypatch.context() as patch:
        if at == "before it is begun":
            patch.setattr(cashouts, "begin", crash)
        elif at == "before the rail is asked":
            patch.setattr(cashouts, "payment", crash)
        elif at == "after the rail did it":
            patch.setattr(cashouts, answer, crash)
        else:
            patch.setattr(ledger, "post", lambda *a, **k: (record(*a, **k), crash()))
        with pytest.raises(Crash):
            send(cashout)
    assert now_of(cashout).state == ("requested" if at == "before it is begun" else "sending")
    assert money(worker) == {"earnings": 0, "transit": 1_500}
    assert_books_are_right()

    background.resume_overdue()  # too early: whoever began it may still be at it
    assert now_of(cashout).finished_at is None
    clock.shift(timedelta(minutes=5))
    background.resume_overdue()
    assert now_of(cashout).state == ("failed" if refuses else "paid")
    assert paid_by_the_rail() == ([] if refuses else [1_500])
    assert money(worker) == {"earnings": 1_500 if refuses else 0, "transit": 0}
    assert_books_are_right()


def test_one_silent_payment_does_not_stop_the_others(earned: Earned) -> None:
    silent, other = earned(1_500), earned(1_600)
    first, second = request(silent), request(other)
    with db.transaction() as session:
        sandbox.silence_next(session, worker_id=silent, now=clock.now())
    clock.shift(timedelta(minutes=5))
    background.resume_overdue()
    assert (now_of(first).state, now_of(second).state) == ("sending", "paid")


def test_an_answer_that_comes_after_the_end_changes_nothing(earned: Earned) -> None:
    worker = earned(1_500)
    cashout = request(worker)
    send(cashout)
    with db.transaction() as session:
        cashouts.fail(session, cashout.id, "too late", now=clock.now())
        cashouts.confirm(session, cashout.id, Receipt("another"), now=clock.now())
    assert now_of(cashout).state == "paid"
    assert money(worker) == {"earnings": 0, "transit": 0}
    assert_books_are_right()


# -- the sandbox -----------------------------------------------------------------------------------------------------------


def test_the_rail_is_not_asked_inside_a_transaction(session: Session) -> None:
    with pytest.raises(NetworkInTransaction):
        rails.named("sandbox").send(Payment("co_1", ids.new(), 1_000))
    with pytest.raises(NetworkInTransaction):
        rails.named("sandbox").statement()


def test_the_sandbox_gives_a_key_the_same_answer_for_ever(database: str) -> None:
    rail, worker = rails.named("sandbox"), ids.new()
    payment = Payment("co_1", worker, 1_000)
    with db.transaction() as session:
        sandbox.fail_next(session, worker_id=worker, reason="No.", now=clock.now())
    for _ in range(2):
        with pytest.raises(RailRefused, match=r"No\."):
            rail.send(payment)
    other = Payment("co_2", worker, 1_000)
    assert rail.send(other) == rail.send(other) == Receipt("sandbox_co_2")
    assert rail.statement().paid == {"co_2": 1_000}


def test_the_sandbox_refuses_one_key_for_two_payments(database: str) -> None:
    rail, worker = rails.named("sandbox"), ids.new()
    rail.send(Payment("co_1", worker, 1_000))
    with pytest.raises(RailRefused, match="another payment"):
        rail.send(Payment("co_1", worker, 2_000))
    with db.transaction() as session:
        assert session.get_one(SandboxPayout, "co_1").amount_cents == 1_000


def test_the_sandbox_takes_faults_in_order(database: str) -> None:
    rail, worker = rails.named("sandbox"), ids.new()
    with db.transaction() as session:
        sandbox.fail_next(session, worker_id=worker, reason="First.", now=clock.now())
        sandbox.fail_next(session, worker_id=worker, reason="Second.", now=clock.now())
    for key, reason in (("co_1", "First"), ("co_2", "Second")):
        with pytest.raises(RailRefused, match=reason):
            rail.send(Payment(key, worker, 1_000))
    rail.send(Payment("co_3", worker, 1_000))


def test_requesting_tells_an_event(earned: Earned) -> None:
    worker = earned(1_500)
    event = event_of(request(worker), "cashout.requested")
    assert event.data == {"worker": ids.show("wkr", worker), "amount_cents": 1_500}
    assert event.organization_id is None


def test_the_deadlines_are_in_the_row(earned: Earned, now: datetime) -> None:
    worker = earned(1_500)
    with db.transaction() as session:
        cashout = cashouts.request(session, worker_id=worker, amount_cents=None, client_id="x", now=now)
        assert cashout.due_at == now + cashouts.SEND_WITHIN
        begun = cashouts.begin(session, cashout.id, now=now)
        assert begun is not None
        assert begun.due_at == now + cashouts.ANSWER_WITHIN


def test_without_a_rail_earnings_wait(session: Session, configure: Callable[..., None]) -> None:
    configure(cashout_rail="none")
    with pytest.raises(cashouts.NoRail):
        cashouts.request(session, worker_id=ids.new(), amount_cents=None, client_id="client-1", now=clock.now())
