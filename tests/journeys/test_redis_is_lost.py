"""Redis is a doorbell. Without it the API takes all work; when it comes back empty, every submission gets its verdict."""

import time
from statistics import median

from infra.embedded import Supervisor
from tests.journeys import photos
from tests.journeys.house import House, until

SCENES = photos.SCENES[:6]


def test_redis_is_lost(house: House, lone_redis: Supervisor) -> None:
    buyer = house.buyer()
    job = buyer.post_job(files_needed=20, price_per_file_cents=50)
    phones = [house.worker("gold"), house.worker("gold")]
    worker, clock = house.start("work"), house.start("clock")

    before = phones[0].send(job["id"], photos.photo(photos.SCENES[6]))
    assert phones[0].await_verdict(before["id"])["state"] == "approved", "with Redis it works as ever"

    lone_redis.stop_part("redis")
    handed_in, seconds = [], []
    for number, scene in enumerate(SCENES):
        phone = phones[number % 2]
        assignment = phone.claim(job["id"])
        upload = phone.upload(assignment["id"], photos.photo(scene))
        started = time.monotonic()
        handed_in.append((phone, phone.hand_in(assignment, [upload])))
        seconds.append(time.monotonic() - started)
    assert all(submission["state"] == "pending" for _, submission in handed_in)
    assert median(seconds) < 1.5, "nobody waits for a Redis that is away"
    assert phones[0].sees(job["id"]), "nor is anybody kept from reading"
    assert house.http.get("/health/live").status_code == 200

    lone_redis.start_part("redis", wipe=True)
    for phone, submission in handed_in:
        said = phone.await_verdict(submission["id"], seconds=60)
        assert said["state"] == "approved", said
    assert sum(phone.call("GET", "/v1/worker/earnings")["available_cents"] for phone in phones) == 7 * 40
    assert (worker.poll(), clock.poll()) == (None, None), "both lived through it"
    until(lambda: house.waiting() == [])
