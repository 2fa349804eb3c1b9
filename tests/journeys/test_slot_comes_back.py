"""A slot nobody fills is somebody else's: handed back, run out, or rejected."""

import pytest

from api.demo.phone import Refused
from infra import blobs
from tests.journeys import photos
from tests.journeys.house import House


def test_slot_times_out_and_comes_back(house: House) -> None:
    buyer, ana, ben = house.buyer(), house.worker(), house.worker()
    job = house.open_job(buyer, files_needed=1, task_time_limit_minutes=10)
    assignment = ana.claim(job["id"])
    assert 595 <= assignment["seconds_left"] <= 600
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "filled"
    assert not ben.sees(job["id"])
    with pytest.raises(Refused) as refused:
        ben.claim(job["id"])
    assert refused.value.status == 409

    house.pass_time(590)
    house.ring_clock()
    assert not ben.sees(job["id"]), "ten seconds are left"
    upload = ana.upload(assignment["id"], photos.photo("coffee"))
    house.pass_time(10)
    with pytest.raises(Refused) as refused:
        ana.hand_in(assignment, [upload])
    assert refused.value.problem["type"] == "/problems/claim-ran-out", "even before the clock has come round"
    house.ring_clock()
    assert ana.call("GET", f"/v1/worker/assignments/{assignment['id']}")["state"] == "expired"
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "open"
    assert ben.sees(job["id"])
    said = house.verdict(ben, ben.send(job["id"], photos.photo("coffee")))
    assert said["state"] == "approved"
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "completed"


def test_hand_back_frees_the_slot_at_once(house: House) -> None:
    buyer, ana, ben = house.buyer(), house.worker(), house.worker()
    job = house.open_job(buyer, files_needed=1)
    assignment = ana.claim(job["id"])
    back = ana.call("POST", f"/v1/worker/assignments/{assignment['id']}/hand-back")
    assert (back["state"], back["seconds_left"]) == ("handed_back", 0)
    assert ben.claim(job["id"])["slot"] == assignment["slot"]
    with pytest.raises(Refused) as refused:
        ana.call("POST", f"/v1/worker/assignments/{assignment['id']}/hand-back")
    assert refused.value.status == 409
    assert refused.value.problem["state"] == "handed_back"
    with pytest.raises(Refused) as refused:
        ana.upload(assignment["id"], photos.photo("coffee"))
    assert refused.value.problem["type"] == "/problems/not-claimed"


def test_five_claims_are_enough_for_one_worker(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer)
    held = [ana.claim(job["id"]) for _ in range(5)]
    with pytest.raises(Refused) as refused:
        ana.claim(job["id"])
    assert (refused.value.status, refused.value.problem["type"]) == (429, "/problems/too-many-claims")
    ana.call("POST", f"/v1/worker/assignments/{held[0]['id']}/hand-back")
    assert ana.claim(job["id"])["slot"] == held[0]["slot"], "the lowest free slot"


def test_upload_that_nobody_hands_in_is_swept_with_its_bytes(house: House) -> None:
    buyer, ana = house.buyer(), house.worker()
    job = house.open_job(buyer)
    assignment = ana.claim(job["id"])
    upload = ana.upload(assignment["id"], photos.photo("coffee"))
    key = f"originals/{upload['id']}"
    assert blobs.stat(key) is not None
    house.pass_time(1_800 + 1)  # the claim runs out and lets its uploads go
    house.ring_clock()
    assert blobs.stat(key) is not None, "the phone may still be sending"
    house.pass_time(3_600 + 1)
    house.ring_clock()
    assert blobs.stat(key) is None
