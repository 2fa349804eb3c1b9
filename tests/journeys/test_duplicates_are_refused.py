"""One picture is paid once: neither the same bytes nor the same picture in other bytes, whoever sends it."""

from api.demo.buyer import BuyerScript
from api.demo.phone import Json
from tests.journeys import photos
from tests.journeys.house import House


def gate_that_refused(submission: Json) -> str:
    assert submission["state"] == "rejected", submission
    assert not submission["retry"]
    assert submission["reason"]["feedback"]
    return str(submission["reason"]["gate"])


def test_duplicate_is_refused(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer, price_per_file_cents=50)
    first = house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))
    assert first["state"] == "approved"
    again = house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))
    assert gate_that_refused(again) == "content_hash"
    assert again["reason"]["code"] == "exact_copy"

    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 40
    standing = ana.call("GET", "/v1/worker/standing")
    assert standing["strikes"] == [], "a duplicate is no misconduct"
    assert standing["scored"] == 1, "nor a judgement of the work"
    progress = buyer.call("GET", f"/v1/jobs/{job['id']}")["progress"]
    assert (progress["approved"], progress["free"]) == (1, 9), "the slot is free again"


def test_mirrored_duplicate_of_another_worker_is_refused(house: House) -> None:
    buyer, ana, ben = house.buyer(), house.worker(), house.worker()
    job = house.open_job(buyer, price_per_file_cents=50)
    first = house.verdict(ana, ana.send(job["id"], photos.photo("astronaut")))
    copy = house.verdict(ben, ben.send(job["id"], photos.mirrored("astronaut")))
    assert gate_that_refused(copy) == "near_duplicate"
    measured, limit = copy["reason"]["measured"], copy["reason"]["limit"]
    assert measured["mirrored"] is True
    assert measured["distance"] <= limit["distance"]
    assert measured["correlation"] >= limit["correlation"]
    assert measured["media"].removeprefix("med_") in first_media(buyer, first)
    assert ben.call("GET", "/v1/worker/earnings")["available_cents"] == 0
    assert ben.call("GET", "/v1/worker/standing")["strikes"] == []


def test_picture_paid_on_another_buyers_job_is_refused_too(house: House) -> None:
    first, second = house.buyer("Acme"), house.buyer("Bolt")
    ana, ben = house.worker(), house.worker()
    one, other = first.post_job(), second.post_job()
    house.pass_time(300)
    assert house.verdict(ana, ana.send(one["id"], photos.photo("rocket")))["state"] == "approved"
    assert gate_that_refused(house.verdict(ben, ben.send(other["id"], photos.mirrored("rocket")))) == "near_duplicate"


def test_copy_of_undecided_work_waits_for_a_human(house: House) -> None:
    """Nothing is known yet of the original, so nobody may call the copy one: a person sees both."""
    buyer, ana, ben = house.buyer(), house.worker(signs=False), house.worker()
    job = house.open_job(buyer)
    assert house.verdict(ana, ana.send(job["id"], photos.photo("china")))["state"] == "in_review"
    copy = house.verdict(ben, ben.send(job["id"], photos.mirrored("china")))
    assert (copy["state"], copy["reason"]["code"]) == ("in_review", "looks_alike")
    shown = house.staff("reviewer").reviews(kind="submission")
    assert [len(review["files"][0]["neighbours"]) for review in shown] == [1, 0], "newest first: the copy, the original"


def test_rejected_picture_may_be_sent_again(house: House) -> None:
    """It was never paid, so it takes nothing from anybody."""
    buyer, ana, ben = house.buyer(), house.worker(), house.worker()
    job = house.open_job(buyer, min_width=600)
    whole = photos.picture("china")
    cut = photos.jpeg(whole.resize((590, 394)))
    assert house.verdict(ana, ana.send(job["id"], cut))["reason"]["code"] == "too_small"
    assert house.verdict(ben, ben.send(job["id"], photos.photo("china")))["state"] == "approved"


def first_media(buyer: BuyerScript, submission: Json) -> list[str]:
    found = buyer.call("GET", f"/v1/submissions/{submission['id']}")["files"]
    return [file["id"].removeprefix("med_") for file in found]
