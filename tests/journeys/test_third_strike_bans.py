"""Three proven cases of misconduct ban at once; a human looks at the ban; a lifted ban leaves everything as it was."""

from datetime import datetime

import pytest

from api.demo.buyer import BuyerScript
from api.demo.phone import Json, Phone, Refused
from infra import clock
from tests.journeys import photos
from tests.journeys.house import House, Staff

SCENES = ("coffee", "rocket", "china")


def earn_strikes(house: House, staff: Staff, phone: Phone, job: Json, scenes: tuple[str, ...] = SCENES) -> None:
    """Unsigned photos go to a human, who rejects each for misconduct."""
    for scene, code in zip(scenes, ("off_topic", "policy_violation", "fraud"), strict=False):
        phone.signs = False
        submission = house.verdict(phone, phone.send(job["id"], photos.photo(scene)))
        (review,) = staff.reviews(kind="submission")
        assert review["subject_id"] == submission["id"]
        staff.decide(review["id"], "reject", code=code)
        phone.signs = True


@pytest.fixture
def buyer(house: House) -> BuyerScript:
    return house.buyer()


def test_third_strike_bans(house: House, buyer: BuyerScript) -> None:
    staff, ana = house.staff("reviewer"), house.worker("silver")
    job = house.open_job(buyer, price_per_file_cents=900)
    assert house.verdict(ana, ana.send(job["id"], photos.photo("astronaut")))["state"] == "approved"

    earn_strikes(house, staff, ana, job, SCENES[:2])
    assert ana.call("GET", "/v1/worker/standing")["state"] == "active", "two strikes are not three"
    ana.signs = False
    held = ana.claim(job["id"])
    third = ana.hand_in(held, [ana.upload(held["id"], photos.photo("china"))])
    house.work()
    staff.decide(staff.reviews(kind="submission")[0]["id"], "reject", code="fraud")

    for method, path, body in (
        ("GET", "/v1/worker/feed?latitude=30&longitude=-97&accuracy_m=5", None),
        ("POST", f"/v1/worker/jobs/{job['id']}/claims", {"position": ana.position}),
    ):
        with pytest.raises(Refused) as refused:
            ana.call(method, path, body)
        assert (refused.value.status, refused.value.problem["type"]) == (403, "/problems/banned")

    standing = ana.call("GET", "/v1/worker/standing")
    assert standing["state"] == "banned"
    assert standing["ban_reason"].startswith("3 strikes: (1) ")
    for words in ("something else than the job asked for", "breaks the content policy", "proven to be a fraud"):
        assert words in standing["ban_reason"]
    assert [strike["code"] for strike in standing["strikes"]] == ["fraud", "policy_violation", "off_topic"]
    assert ana.call("GET", f"/v1/worker/submissions/{third['id']}")["stars"] == 1

    (review,) = staff.reviews(kind="ban")
    assert review["subject_id"] == ana.worker_id
    assert [reason["code"] for reason in review["reasons"]] == ["fraud", "policy_violation", "off_topic"]
    assert datetime.fromisoformat(review["due_at"]) > clock.now()

    # What was earned stays the worker's, and can be cashed out.
    buyer.top_up(10_000)
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 720


def test_lifted_ban_restores_access_tier_and_earnings(house: House, buyer: BuyerScript) -> None:
    staff, ana = house.staff("reviewer"), house.worker("silver")
    job = house.open_job(buyer, price_per_file_cents=900)
    assert house.verdict(ana, ana.send(job["id"], photos.photo("astronaut")))["state"] == "approved"
    earn_strikes(house, staff, ana, job)
    (review,) = staff.reviews(kind="ban")

    staff.decide(review["id"], "lift", note="The photos show what was asked for.")
    standing = ana.call("GET", "/v1/worker/standing")
    assert (standing["state"], standing["ban_reason"], standing["tier"]) == ("active", None, "silver")
    assert all(strike["lifted_at"] for strike in standing["strikes"])
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 720
    assert ana.sees(job["id"])
    assert house.verdict(ana, ana.send(job["id"], photos.photo("motorcycle")))["state"] == "approved"

    # The lifted strikes count no more: the next one is the first.
    earn_strikes(house, staff, ana, job, ("gravel",))
    assert ana.call("GET", "/v1/worker/standing")["state"] == "active"


def test_upheld_ban_stays_and_earnings_can_be_cashed_out(house: House, buyer: BuyerScript) -> None:
    staff, ana = house.staff("reviewer"), house.worker("gold")
    job = house.open_job(buyer, price_per_file_cents=2_000)
    assert house.verdict(ana, ana.send(job["id"], photos.photo("astronaut")))["state"] == "approved"
    earn_strikes(house, staff, ana, job)
    staff.decide(staff.reviews(kind="ban")[0]["id"], "uphold")
    assert ana.call("GET", "/v1/worker/standing")["state"] == "banned"
    cashout = ana.call("POST", "/v1/worker/cashouts", {"client_id": "last-money"})
    house.work()
    assert ana.call("GET", f"/v1/worker/cashouts/{cashout['id']}")["state"] == "paid"
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 0


def test_ban_nobody_reviews_is_escalated_and_stays(house: House, buyer: BuyerScript) -> None:
    staff, ana = house.staff("reviewer"), house.worker()
    earn_strikes(house, staff, ana, house.open_job(buyer))
    house.pass_time(24 * 3_600 - 600)
    house.ring_clock()
    assert house.events("review.overdue") == []
    house.pass_time(700)
    house.ring_clock()
    assert [event.data for event in house.events("review.overdue")] == [{"kind": "ban", "escalations": 1}]
    assert ana.call("GET", "/v1/worker/standing")["state"] == "banned"


def test_rejection_for_craft_is_no_strike(house: House, buyer: BuyerScript) -> None:
    staff, ana = house.staff("reviewer"), house.worker(signs=False)
    job = house.open_job(buyer)
    said = house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))
    staff.decide(staff.reviews()[0]["id"], "reject", code="incomplete", stars=2)
    said = ana.call("GET", f"/v1/worker/submissions/{said['id']}")
    assert (said["state"], said["stars"]) == ("rejected", 2)
    assert said["reason"]["feedback"]
    assert ana.call("GET", "/v1/worker/standing")["strikes"] == []


def test_two_reviewers_cannot_decide_the_same_thing_twice(house: House, buyer: BuyerScript) -> None:
    staff, ana = house.staff("reviewer"), house.worker(signs=False)
    job = house.open_job(buyer, price_per_file_cents=50)
    house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))
    (review,) = staff.reviews()
    staff.decide(review["id"], "approve")
    with pytest.raises(Refused) as refused:
        staff.decide(review["id"], "reject", code="fraud")
    assert refused.value.status == 409
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 40
    assert ana.call("GET", "/v1/worker/standing")["strikes"] == []
