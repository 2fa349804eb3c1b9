"""A test job runs the whole flow for those it names, moves no money, and nobody else sees it."""

import pytest

from api.demo.phone import Refused
from tests.journeys import photos
from tests.journeys.house import House


def test_dry_run_moves_no_money_and_is_invisible_to_others(house: House) -> None:
    buyer = house.buyer(cents=0)
    ana, ben = house.worker(email="ana@example.org"), house.worker("gold")
    job = house.open_job(buyer, test=True, test_emails=["Ana@example.org"], files_needed=2)
    assert buyer.call("GET", "/v1/wallet")["available_cents"] == 0
    assert ana.sees(job["id"])
    assert not ben.sees(job["id"])
    with pytest.raises(Refused) as refused:
        ben.claim(job["id"])
    assert [reason["code"] for reason in refused.value.problem["reasons"]] == ["outside-audience"]

    said = house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))
    assert said["state"] == "approved", "the same gates"
    again = house.verdict(ana, ana.send(job["id"], photos.photo("coffee")))
    assert (again["state"], again["reason"]["gate"]) == ("rejected", "content_hash")
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 0
    assert buyer.call("POST", f"/v1/jobs/{job['id']}/cancel")["state"] == "cancelled"
    assert buyer.call("GET", "/v1/wallet")["available_cents"] == 0
    assert all(event.data["test"] for event in house.events("job.published"))
