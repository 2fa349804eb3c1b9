"""Two stars: the slot stays the worker's for one more try. One star: it does not."""

from tests.journeys import photos
from tests.journeys.house import House


def test_two_star_photo_may_be_retried_once_and_is_then_paid(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer, price_per_file_cents=50)
    assignment = ana.claim(job["id"])
    house.pass_time(29 * 60)
    upload = ana.upload(assignment["id"], photos.blurred("coffee", 2.0))
    first = house.verdict(ana, ana.hand_in(assignment, [upload]))
    assert (first["state"], first["stars"], first["retry"]) == ("rejected", 2, True)
    assert (first["reason"]["gate"], first["reason"]["code"]) == ("score", "blurred")
    assert "hold still" in first["reason"]["feedback"]

    again = ana.call("GET", f"/v1/worker/assignments/{assignment['id']}")
    assert again["state"] == "claimed"
    assert 29 * 60 < again["seconds_left"] <= 30 * 60, "the whole time limit anew"
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["progress"]["assigned"] == 1

    upload = ana.upload(assignment["id"], photos.photo("coffee"))
    second = house.verdict(ana, ana.hand_in(assignment, [upload]))
    assert (second["state"], second["attempt"]) == ("approved", 2), "the first try is no earlier work of somebody else"
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 40


def test_second_try_is_the_last(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer)
    assignment = ana.claim(job["id"])
    for name in ("coffee", "coins"):
        upload = ana.upload(assignment["id"], photos.blurred(name, 2.0))
        said = house.verdict(ana, ana.hand_in(assignment, [upload]))
        assert (said["state"], said["stars"], said["retry"]) == ("rejected", 2, name == "coffee")
    assert ana.call("GET", f"/v1/worker/assignments/{assignment['id']}")["state"] == "rejected"
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["progress"]["free"] == 10


def test_retry_runs_out_like_any_claim(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer)
    assert house.verdict(ana, ana.send(job["id"], photos.blurred("coffee", 2.0)))["retry"]
    house.pass_time(30 * 60)
    house.ring_clock()
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["progress"]["free"] == 10


def test_one_star_photo_may_not_be_retried_and_bad_craft_is_no_strike(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer)
    said = house.verdict(ana, ana.send(job["id"], photos.blurred("coffee", 3.0)))
    assert (said["state"], said["stars"], said["retry"]) == ("rejected", 1, False)
    standing = ana.call("GET", "/v1/worker/standing")
    assert (standing["scored"], standing["approval_rate"], standing["strikes"]) == (1, 0.0, [])


def test_buyer_who_asks_for_less_takes_two_stars(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer, min_star_rating=2)
    said = house.verdict(ana, ana.send(job["id"], photos.blurred("coffee", 2.0)))
    assert (said["state"], said["stars"]) == ("approved", 2)
