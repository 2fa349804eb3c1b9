"""A buyer orders photos, a worker there takes one, the gates find nothing against it, and the worker is paid."""

import hashlib
import io

import httpx
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from api.demo.phone import Photo, Refused
from infra import db
from payouts import accounts, ledger
from tests.journeys import photos
from tests.journeys.house import House

GATES = {"attestation", "bytes", "content_hash", "resolution", "near_duplicate", "place"}


@pytest.mark.parametrize("taken", [photos.tagged("coffee"), photos.heic("astronaut")], ids=["JPEG", "HEIC"])
def test_photo_is_paid(house: House, taken: Photo) -> None:
    buyer = house.buyer(cents=1_000)
    job = house.open_job(buyer, files_needed=2, price_per_file_cents=52, min_width=500, min_height=400)
    assert buyer.call("GET", "/v1/wallet")["available_cents"] == 1_000 - 2 * 52

    ana = house.worker()
    assert ana.sees(job["id"])
    handed_in = ana.send(job["id"], taken)
    assert (handed_in["state"], handed_in["pay_cents"]) == ("pending", 0)
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["progress"]["pending"] == 1

    submission = house.verdict(ana, handed_in)
    assert (submission["state"], submission["pay_cents"]) == ("approved", 42), "80 % of 52, and the fraction of a cent"
    assert submission["stars"] >= 4
    assert {finding["gate"]: finding["outcome"] for finding in submission["findings"]} == dict.fromkeys(GATES, "pass")

    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 42
    with db.transaction() as session:
        assert ledger.balance(session, accounts.FEE) == 10
    assert buyer.call("GET", "/v1/wallet")["available_cents"] == 1_000 - 2 * 52, (
        "the other slot's money waits in escrow"
    )
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["progress"] == {
        "target": 2, "assigned": 0, "pending": 0, "approved": 1, "free": 1,
    }  # fmt: skip

    (told,) = house.events("submission.approved")
    assert told.subject == submission["id"]
    assert told.data["price_cents"] == 52
    assert ana.email not in str(told.data)

    (delivered,) = buyer.call("GET", f"/v1/jobs/{job['id']}/submissions")["data"]
    assert (delivered["state"], delivered["cost_cents"], delivered["region"]) == ("approved", 52, "US-TX")
    (file,) = delivered["files"]
    bytes_of_the_buyer = httpx.get(file["url"]).content
    assert hashlib.sha256(bytes_of_the_buyer).hexdigest() == file["sha256"]
    assert file["original_sha256"] == taken.sha256.hex()
    received = Image.open(io.BytesIO(bytes_of_the_buyer))
    assert (received.format, file["media_type"]) == ("JPEG", "image/jpeg")
    assert dict(received.getexif()) == {}, "the buyer may know the region, not the place"
    assert photos.SERIAL_NUMBER not in bytes_of_the_buyer
    pillow_heif.register_heif_opener()
    sent = np.asarray(Image.open(io.BytesIO(taken.data)).convert("RGB"), dtype=int)
    apart = np.abs(np.asarray(received.convert("RGB"), dtype=int) - sent)
    assert apart.max() == 0 if taken.media_type == "image/jpeg" else apart.mean() < 3


def test_the_last_photo_completes_the_job(house: House) -> None:
    buyer = house.buyer(cents=1_000)
    job = house.open_job(buyer, files_needed=2, price_per_file_cents=50)
    ana = house.worker()
    for name in ("coffee", "rocket"):
        assert house.verdict(ana, ana.send(job["id"], photos.photo(name)))["state"] == "approved"
    job = buyer.call("GET", f"/v1/jobs/{job['id']}")
    assert (job["state"], job["progress"]["approved"]) == ("completed", 2)
    assert not ana.sees(job["id"])
    assert len(house.events("job.completed")) == 1
    assert ana.call("GET", "/v1/worker/earnings")["available_cents"] == 80


def test_buyer_without_money_is_told_what_is_missing(house: House) -> None:
    buyer = house.buyer(cents=499)
    with pytest.raises(Refused) as refused:
        buyer.post_job(files_needed=10, price_per_file_cents=50)
    assert refused.value.status == 402
    assert buyer.call("GET", "/v1/wallet")["available_cents"] == 499
    assert buyer.call("GET", "/v1/jobs")["data"] == [], "nothing is left of a job that could not be paid"
    buyer.top_up(1)
    assert buyer.post_job(files_needed=10, price_per_file_cents=50)["state"] == "open"
