"""A phone that does not sign is not refused: a person looks."""

import httpx
import pytest

from api.demo.phone import Refused
from infra import clock, db, ids
from quality import background, reviews
from tests.journeys import photos
from tests.journeys.house import House


def test_unsigned_submission_goes_to_a_human_who_approves(house: House) -> None:
    buyer, ana, staff = house.buyer(), house.worker(signs=False), house.staff("reviewer")
    job = house.open_job(buyer, price_per_file_cents=50)
    waiting = house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))
    assert (waiting["state"], waiting["pay_cents"]) == ("in_review", 0)
    assert (waiting["reason"]["gate"], waiting["reason"]["code"]) == ("attestation", "unsigned")
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["progress"]["pending"] == 1, "the slot waits with it"

    (review,) = staff.reviews(kind="submission")
    assert (review["subject_id"], review["held_cents"]) == (waiting["id"], 40)
    decided = staff.decide(review["id"], "approve", stars=5)
    assert (decided["state"], decided["decision"]) == ("decided", "approve")
    paid = ana.call("GET", f"/v1/worker/submissions/{waiting['id']}")
    assert (paid["state"], paid["stars"], paid["pay_cents"]) == ("approved", 5, 40)
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 40
    assert staff.reviews() == []


def test_job_may_demand_a_signature(house: House) -> None:
    buyer, ana = house.buyer(), house.worker(signs=False)
    job = house.open_job(buyer, tech_constraints={"attestation": "required"})
    with pytest.raises(Refused) as refused:
        ana.send(job["id"], photos.photo("coffee"))
    assert (refused.value.status, refused.value.problem["type"]) == (403, "/problems/signature-required")


def test_verdict_that_takes_too_long_goes_to_a_human(house: House) -> None:
    """Whatever became of the background work, nobody waits for ever, and nobody approves what nobody has seen."""
    buyer, ana, staff = house.buyer(), house.worker(), house.staff("reviewer")
    job = house.open_job(buyer)
    submission = ana.send(job["id"], photos.photo("coffee"))
    house.pass_time(15 * 60 + 1)
    background.ring_overdue()
    late = ana.call("GET", f"/v1/worker/submissions/{submission['id']}")
    assert (late["state"], late["reason"]["code"]) == ("in_review", "late")
    (review,) = staff.reviews(kind="submission")
    (file,) = review["files"]
    assert file["inspected"] is False
    assert httpx.get(file["url"]).content == photos.photo("coffee").data
    with pytest.raises(Refused) as refused:
        staff.decide(review["id"], "approve")
    assert (refused.value.status, refused.value.problem["type"]) == (409, "/problems/not-inspected")

    house.work()  # the workers are back
    assert ana.call("GET", f"/v1/worker/submissions/{submission['id']}")["state"] == "approved"
    assert staff.reviews(kind="submission") == []
    (answered,) = staff.reviews(kind="submission", state="decided")
    assert (answered["decision"], answered["decided_by"]) == ("superseded", None)


def test_reviews_open_all_day_on_one_connection(house: House) -> None:
    """PostgreSQL plans a statement anew only so many times; the plan it then keeps must still find the index."""
    for _ in range(30):
        subject = ids.new()
        with db.transaction() as session:
            opened = [
                reviews.open(
                    session, kind="submission", subject_id=subject, worker_id=ids.new(), reasons=[], now=clock.now()
                )
                for _ in range(2)
            ]
        assert opened[0]
        assert opened[1] is None, "asked once"
