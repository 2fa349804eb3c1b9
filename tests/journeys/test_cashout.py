"""Earnings on their way to the bank, and back when the bank does not want them."""

from datetime import timedelta

import pytest

from api.demo.phone import Phone, Refused
from infra import clock, db, ids
from payouts import accounts, background, ledger
from payouts.rails import sandbox
from tests.journeys import photos
from tests.journeys.house import House


@pytest.fixture
def ana(house: House) -> Phone:
    """She has earned 1,440 cents with two photos."""
    ana = house.worker()
    job = house.open_job(house.buyer(), price_per_file_cents=900)
    for name in ("coffee", "rocket"):
        assert house.verdict(ana, ana.send(job["id"], photos.photo(name)))["state"] == "approved"
    return ana


def balance(phone: Phone) -> int:
    return int(phone.call("GET", "/v1/worker/earnings")["available_cents"])


def in_transit(phone: Phone) -> int:
    with db.transaction() as session:
        return ledger.balance(session, accounts.transit(ids.read("wkr", phone.worker_id)))


def test_cashout_is_paid(house: House, ana: Phone) -> None:
    asked = ana.call("POST", "/v1/worker/cashouts", {"client_id": "cashout-1", "amount_cents": 1_100})
    assert (asked["state"], balance(ana), in_transit(ana)) == ("requested", 340, 1_100)
    again = ana.call("POST", "/v1/worker/cashouts", {"client_id": "cashout-1", "amount_cents": 1_100})
    assert again["id"] == asked["id"], "sent twice, it counts once"
    house.work()
    paid = ana.call("GET", f"/v1/worker/cashouts/{asked['id']}")
    assert (paid["state"], paid["failure"]) == ("paid", None)
    assert (balance(ana), in_transit(ana)) == (340, 0)
    with pytest.raises(Refused) as refused:
        ana.call("POST", "/v1/worker/cashouts", {"client_id": "cashout-2"})
    assert (refused.value.status, refused.value.problem["missing_cents"]) == (409, 660), "the rest accumulates"


def test_cashout_fails_and_returns(house: House, ana: Phone) -> None:
    fault = {"worker_id": ana.worker_id, "reason": "The account is closed."}
    house.staff("admin").call("POST", "/v1/staff/sandbox/cashout-faults", fault)
    asked = ana.call("POST", "/v1/worker/cashouts", {"client_id": "cashout-1"})
    assert (asked["amount_cents"], balance(ana)) == (1_440, 0)
    house.work()
    failed = ana.call("GET", f"/v1/worker/cashouts/{asked['id']}")
    assert (failed["state"], failed["failure"]) == ("failed", "The account is closed.")
    assert (balance(ana), in_transit(ana)) == (1_440, 0)
    assert len(house.events("cashout.failed")) == 1
    assert house.inconsistencies() == []

    second = ana.call("POST", "/v1/worker/cashouts", {"client_id": "cashout-2"})
    house.work()
    assert ana.call("GET", f"/v1/worker/cashouts/{second['id']}")["state"] == "paid"
    assert balance(ana) == 0


def test_rail_that_pays_and_does_not_answer_pays_once(house: House, ana: Phone) -> None:
    with db.transaction() as session:
        sandbox.silence_next(session, worker_id=ids.read("wkr", ana.worker_id), now=clock.now())
    asked = ana.call("POST", "/v1/worker/cashouts", {"client_id": "cashout-1"})
    with pytest.raises(AssertionError, match="RailUnavailable"):
        house.work()
    assert ana.call("GET", f"/v1/worker/cashouts/{asked['id']}")["state"] == "sending"
    assert (balance(ana), in_transit(ana)) == (0, 1_440)
    assert house.inconsistencies() == [], "half-way is no violation"
    house.pass_time(timedelta(minutes=3))
    background.resume_overdue()
    assert ana.call("GET", f"/v1/worker/cashouts/{asked['id']}")["state"] == "paid"
    house.work()
    assert (balance(ana), in_transit(ana)) == (0, 0)
    assert len(house.events("cashout.paid")) == 1


def test_small_balance_cannot_be_cashed_out(house: House) -> None:
    ana = house.worker()
    with pytest.raises(Refused) as refused:
        ana.call("POST", "/v1/worker/cashouts", {"client_id": "cashout-1"})
    assert refused.value.status == 409
    with pytest.raises(Refused) as refused:
        ana.call("POST", "/v1/worker/cashouts", {"client_id": "cashout-2", "amount_cents": 999})
    assert (refused.value.status, refused.value.problem["minimum_cents"]) == (422, 1_000)


def test_nobody_reads_the_cashouts_of_another(house: House, ana: Phone) -> None:
    asked = ana.call("POST", "/v1/worker/cashouts", {"client_id": "cashout-1"})
    with pytest.raises(Refused) as refused:
        house.worker().call("GET", f"/v1/worker/cashouts/{asked['id']}")
    assert refused.value.status == 404


def test_reviewer_may_not_tamper_with_the_sandbox(house: House, ana: Phone) -> None:
    with pytest.raises(Refused) as refused:
        house.staff("reviewer").call(
            "POST", "/v1/staff/sandbox/cashout-faults", {"worker_id": ana.worker_id, "reason": "for fun"}
        )
    assert refused.value.status == 403
