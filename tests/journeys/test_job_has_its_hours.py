"""A job from its first minute to its last: scheduled, paused, cancelled, closed, expired, and where the money is meanwhile."""

from datetime import timedelta

import pytest

from api.demo.buyer import BuyerScript
from api.demo.phone import Json, Refused
from infra import clock
from tests.journeys import photos
from tests.journeys.house import House


def wallet(buyer: BuyerScript) -> int:
    return int(buyer.call("GET", "/v1/wallet")["available_cents"])


def act(buyer: BuyerScript, job: Json, what: str) -> Json:
    return buyer.call("POST", f"/v1/jobs/{job['id']}/{what}")


def test_buyer_cancels_with_work_in_flight(house: House) -> None:
    """Who holds a claim may finish and is paid; everything else goes back at once."""
    buyer = house.buyer(cents=1_000)
    ana, ben, zoe = house.worker(), house.worker(), house.worker()
    job = house.open_job(buyer, files_needed=10, price_per_file_cents=50)
    assert house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))["state"] == "approved"
    handed_in = ana.send(job["id"], photos.photo("rocket"))
    claimed, abandoned = ben.claim(job["id"]), zoe.claim(job["id"])
    assert wallet(buyer) == 500

    cancelled = act(buyer, job, "cancel")
    assert cancelled["state"] == "cancelled"
    assert wallet(buyer) == 500 + 6 * 50, "one is paid, three are in work"
    assert house.inconsistencies() == []
    assert not ana.sees(job["id"])
    with pytest.raises(Refused) as refused:
        ana.claim(job["id"])
    assert refused.value.status == 409

    assert house.verdict(ana, handed_in)["state"] == "approved"
    upload = ben.upload(claimed["id"], photos.photo("china"))
    assert house.verdict(ben, ben.hand_in(claimed, [upload]))["state"] == "approved", "a running claim is still paid"
    assert ben.call("GET", "/v1/worker/earnings")["available_cents"] == 40
    assert wallet(buyer) == 800
    zoe.call("POST", f"/v1/worker/assignments/{abandoned['id']}/hand-back")
    assert wallet(buyer) == 850, "the last slot's money follows when nobody holds it any more"
    with pytest.raises(Refused) as refused:
        act(buyer, job, "resume")
    assert refused.value.status == 409
    assert refused.value.problem["state"] == "cancelled"
    assert refused.value.problem["allowed"] == []


def test_rejected_and_expired_work_of_a_cancelled_job_is_refunded(house: House) -> None:
    buyer = house.buyer(cents=1_000)
    ana, ben = house.worker(), house.worker()
    job = house.open_job(buyer, files_needed=10, price_per_file_cents=50, min_width=400)
    small = ana.send(job["id"], photos.small("coffee"))
    ben.claim(job["id"])
    act(buyer, job, "cancel")
    assert wallet(buyer) == 900
    assert house.verdict(ana, small)["state"] == "rejected"
    assert wallet(buyer) == 950
    house.pass_time(30 * 60)
    house.ring_clock()
    assert wallet(buyer) == 1_000


def test_pause_hides_and_resume_shows(house: House) -> None:
    buyer, ana, ben = house.buyer(), house.worker(), house.worker()
    job = house.open_job(buyer)
    running = ana.claim(job["id"])
    assert act(buyer, job, "pause")["state"] == "paused"
    assert not ben.sees(job["id"])
    with pytest.raises(Refused) as refused:
        ben.claim(job["id"])
    assert refused.value.status == 409
    upload = ana.upload(running["id"], photos.photo("coffee"))
    assert house.verdict(ana, ana.hand_in(running, [upload]))["state"] == "approved", "running work may finish"
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "paused"
    assert act(buyer, job, "resume")["state"] == "open"
    assert ben.sees(job["id"])
    assert ben.claim(job["id"])["state"] == "claimed"


def test_closed_job_finishes_what_runs(house: House) -> None:
    buyer, ana = house.buyer(cents=1_000), house.worker()
    job = house.open_job(buyer, files_needed=10, price_per_file_cents=50)
    running = ana.claim(job["id"])
    assert act(buyer, job, "close")["state"] == "closing"
    assert wallet(buyer) == 950
    assert not ana.sees(job["id"])
    upload = ana.upload(running["id"], photos.photo("coffee"))
    assert house.verdict(ana, ana.hand_in(running, [upload]))["state"] == "approved"
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "completed"


def test_job_expires_and_the_rest_comes_back(house: House) -> None:
    buyer, ana = house.buyer(cents=1_000), house.worker()
    job = house.open_job(buyer, files_needed=10, price_per_file_cents=50, posting_time_limit_minutes=60)
    assert house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))["state"] == "approved"
    house.pass_time(timedelta(minutes=54))
    house.ring_clock()
    assert ana.sees(job["id"])
    late = ana.claim(job["id"])
    house.pass_time(timedelta(minutes=1))
    house.ring_clock()
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "expired"
    assert not ana.sees(job["id"])
    assert wallet(buyer) == 500 + 8 * 50
    assert len(house.events("job.expired")) == 1
    upload = ana.upload(late["id"], photos.photo("rocket"))
    assert house.verdict(ana, ana.hand_in(late, [upload]))["state"] == "approved", "claimed in time"
    assert wallet(buyer) == 900


def test_scheduled_job_opens_at_its_hour(house: House) -> None:
    """And its windows count from then: the money is reserved before, the work begins after."""
    buyer, gold, new = house.buyer(cents=1_000), house.worker("gold"), house.worker()
    starts = clock.now() + timedelta(hours=2)
    job = buyer.post_job(files_needed=10, price_per_file_cents=50, starts_at=starts.isoformat())
    assert (job["state"], job["published_at"], wallet(buyer)) == ("scheduled", None, 500)
    house.pass_time(timedelta(hours=2) - timedelta(minutes=1))
    house.ring_clock()
    assert not gold.sees(job["id"])
    with pytest.raises(Refused):
        gold.claim(job["id"])
    house.pass_time(60)
    house.ring_clock()
    job = buyer.call("GET", f"/v1/jobs/{job['id']}")
    assert job["state"] == "open"
    assert gold.sees(job["id"])
    assert not new.sees(job["id"])
    house.pass_time(300)
    assert new.sees(job["id"])


def test_draft_costs_nothing_until_it_is_published(house: House) -> None:
    buyer, gold = house.buyer(cents=400), house.worker("gold")
    job = buyer.post_job(publish=False, files_needed=10, price_per_file_cents=50)
    assert (job["state"], wallet(buyer)) == ("draft", 400)
    assert not gold.sees(job["id"])
    with pytest.raises(Refused) as refused:
        act(buyer, job, "publish")
    assert refused.value.status == 402
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["state"] == "draft"
    buyer.top_up(100)
    assert act(buyer, job, "publish")["state"] == "open"
    assert (gold.sees(job["id"]), wallet(buyer)) == (True, 0)


def test_no_buyer_reaches_the_job_of_another(house: House) -> None:
    acme, bolt = house.buyer("Acme"), house.buyer("Bolt")
    job = acme.post_job()
    for method, path in (
        ("GET", f"/v1/jobs/{job['id']}"),
        ("GET", f"/v1/jobs/{job['id']}/submissions"),
        ("POST", f"/v1/jobs/{job['id']}/cancel"),
    ):
        with pytest.raises(Refused) as refused:
            bolt.call(method, path)
        assert refused.value.status == 404
    assert acme.call("GET", f"/v1/jobs/{job['id']}")["state"] == "open"
