"""A photo below the job's floor is refused before anybody scores it: no charge, no strike, and words that help."""

import io

from PIL import Image

from api.demo.phone import Photo
from tests.journeys import photos
from tests.journeys.house import House


def test_too_small_is_refused_at_no_charge(house: House) -> None:
    buyer, ana = house.buyer(cents=1_000), house.worker()
    job = house.open_job(buyer, files_needed=10, price_per_file_cents=50, min_width=300, min_height=300)
    refused = house.verdict(ana, ana.send(job["id"], photos.small("coffee", 299)))
    assert (refused["state"], refused["stars"], refused["pay_cents"], refused["retry"]) == ("rejected", 1, 0, False)
    reason = refused["reason"]
    assert (reason["gate"], reason["code"]) == ("resolution", "too_small")
    assert (reason["measured"], reason["limit"]) == ("299x299", "300x300")
    assert "at least 300 x 300" in reason["feedback"]
    assert refused["scores"] == [], "nobody scored it"

    standing = ana.call("GET", "/v1/worker/standing")
    assert (standing["strikes"], standing["scored"]) == ([], 0)
    (seen,) = buyer.call("GET", f"/v1/jobs/{job['id']}/submissions")["data"]
    assert (seen["cost_cents"], seen["files"][0]["url"]) == (0, None)
    assert buyer.call("GET", f"/v1/jobs/{job['id']}")["progress"]["free"] == 10

    assert house.verdict(ana, ana.send(job["id"], photos.small("coffee", 300)))["state"] == "approved"


def test_floor_counts_after_the_rotation_that_exif_asks_for(house: House) -> None:
    """600 x 400 as stored, 400 x 600 as everybody sees it."""
    turned = Image.Exif()
    turned[0x0112] = 6
    stream = io.BytesIO()
    photos.picture("coffee").save(stream, "JPEG", quality=92, exif=turned)
    buyer, ana = house.buyer(), house.worker()
    tall, wide = buyer.post_job(min_height=600), buyer.post_job(min_width=600)
    house.pass_time(300)
    refused = house.verdict(ana, ana.send(wide["id"], Photo(stream.getvalue())))
    assert refused["reason"]["measured"] == "400x600"
    assert house.verdict(ana, ana.send(tall["id"], Photo(stream.getvalue())))["state"] == "approved"
